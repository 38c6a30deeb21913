"""Swap releases in a worker: open, verify and warm up the target, then change one reference."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.outages import outage_behind
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.bundle import Release
from recsim_tasks.serving.backoff import RETRY_REFUSED_SECONDS, RETRY_UNAVAILABLE_SECONDS, Backoff, Clock
from recsim_tasks.serving.polling import PollingThread
from recsim_tasks.serving.product_listing import ProductListing
from recsim_tasks.serving.prometheus import Metrics
from recsim_tasks.serving.target import JUST_STARTED, Problem, ServingTarget, releases_dir, suspect_file
from recsim_tasks.vectors.filters import Filters

log = logging.getLogger(__name__)

WARM_UPS = 3
# A poll reads a small file on this machine.
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class ServedRelease:
    """A verified release and its version; a request keeps the one that it started with."""

    version: int
    release: Release
    listing: ProductListing


class HotSwap(PollingThread):
    """Holds the release that answers in this worker. One thread changes it; any number may read `current`."""

    def __init__(self, settings: Settings, metrics: Metrics, clock: Clock = time.monotonic) -> None:
        super().__init__("hot-swap", POLL_SECONDS)
        self.current: ServedRelease | None = None
        self.problem: Problem | None = JUST_STARTED
        """Why the champion is not being served; None when it is."""
        self._previous: ServedRelease | None = None
        self._settings, self._metrics = settings, metrics
        self._backoff = Backoff(clock)

    def poll(self) -> None:
        """Look at the target once and swap if it changed; a failure becomes the `problem`."""
        before = self.problem
        try:
            target = ServingTarget.read(self._settings)
        except OSError as error:
            self.problem = Problem("failed", f"The release to serve cannot be looked up: {error}")
        else:
            self._metrics.set_gauge("recsim_registry_up", target.registry_up)
            self.problem = self._serve(target.version) or target.problem
        if self.current is None:
            self._metrics.set_gauge("recsim_release", 0)  # other workers of this server may have one
        self._metrics.set_gauge("recsim_swap_problem", 0 if self.problem is None else 1)
        if self.problem and self.problem != before:
            log.warning("Serving: %s", self.problem.reason)

    def _serve(self, version: int | None) -> Problem | None:
        """Serve `version`; return why that failed."""
        if version is None or (self.current and self.current.version == version):
            return None
        if blocked := self._backoff.blocks(version):
            return blocked
        began = time.monotonic()
        try:
            served = self._previous if self._previous and self._previous.version == version else None
            served = served or self._open(version)
        except Exception as error:
            return self._failed(version, error)
        self._swap(served, time.monotonic() - began)
        return None

    def _open(self, version: int) -> ServedRelease:
        """Open and check a release, although the follower has checked it: files on a disk change."""
        folder = releases_dir(self._settings) / str(version)
        release = Release.open(folder, self._settings.serving_max_pixels)
        for canary in release.manifest.canaries[:WARM_UPS]:
            release.similar(canary.data, 10, Filters())
        return ServedRelease(version, release, ProductListing(release.index.products))

    def _failed(self, version: int, error: Exception) -> Problem:
        """Return why `version` could not be opened, and block it for a while. An outage is not a refusal."""
        if outage := outage_behind(error, str(releases_dir(self._settings))):
            problem = Problem("release_unavailable", f"Release {version} could not be opened: {outage}")
            return self._backoff.failed(version, problem, RETRY_UNAVAILABLE_SECONDS)
        if isinstance(error, InputError):
            self._report_damage(version)
            problem = Problem("release_refused", f"Release {version} is refused: {error}")
            return self._backoff.failed(version, problem, RETRY_REFUSED_SECONDS)
        log.error("Release %d could not be opened", version, exc_info=error)
        cause = f"{type(error).__name__}: {error}; the server's log has more"
        problem = Problem("failed", f"Release {version} could not be opened ({cause}).")
        return self._backoff.failed(version, problem, RETRY_UNAVAILABLE_SECONDS)

    def _report_damage(self, version: int) -> None:
        """Count a refusal, and ask the follower to check the copy, from which other workers may serve."""
        self._metrics.swaps.labels("refused").inc()
        with suppress(OSError):
            suspect_file(self._settings, version).touch()

    def _swap(self, served: ServedRelease, seconds: float) -> None:
        self._previous, self.current = self.current, served
        self._metrics.set_release(served.version, served.release)
        self._metrics.swaps.labels("done").inc()
        products = f"{len(served.release.index):,}"
        log.info("Serving: release %d, %s products, ready after %.1f s", served.version, products, seconds)
