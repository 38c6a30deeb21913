"""Swap releases in a worker: open, verify and warm up the target, then change one reference."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.bundle import Release
from recsim_tasks.serving.backoff import Backoff, Clock
from recsim_tasks.serving.champion_follower import RETRY_REFUSED_SECONDS
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


class HotSwap:
    """Holds the release that answers in this worker. One thread changes it; any number may read `current`."""

    def __init__(self, settings: Settings, metrics: Metrics, clock: Clock = time.monotonic) -> None:
        self.current: ServedRelease | None = None
        self.problem: Problem | None = JUST_STARTED
        """Why the champion is not being served; None when it is."""
        self._previous: ServedRelease | None = None
        self._settings, self._metrics = settings, metrics
        self._backoff = Backoff(clock)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="hot-swap", daemon=True)

    def start(self) -> None:
        """Start to follow the target in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current poll."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def poll(self) -> None:
        """Look at the target once and swap if it changed; never raises, but sets `problem`."""
        target = ServingTarget.read(self._settings)
        self._metrics.set_gauge("recsim_registry_up", target.registry_up)
        try:
            own_problem = self._serve(target.version)
        except Exception as error:
            log.error("Release %s could not be loaded", target.version, exc_info=error)
            failed = f"{type(error).__name__}: {error}"
            reason = f"Release {target.version} could not be loaded ({failed}): see the server's log."
            own_problem = Problem("failed", reason)
        if self.current is None:
            self._metrics.set_gauge("recsim_release", 0)  # other workers of this server may have one
        self.problem = own_problem or target.problem
        self._metrics.set_gauge("recsim_swap_problem", 0 if self.problem is None else 1)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            before = self.problem
            self.poll()
            if self.problem and self.problem != before:
                log.warning("Serving: %s", self.problem.reason)
            self._stopping.wait(POLL_SECONDS)

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
        except InputError as error:
            self._metrics.swaps.labels("refused").inc()
            problem = Problem("release_refused", f"Release {version} is refused: {error}")
            return self._backoff.failed(version, problem, RETRY_REFUSED_SECONDS)
        self._swap(served, time.monotonic() - began)
        return None

    def _open(self, version: int) -> ServedRelease:
        """Open and check a release, although the follower has checked it: files on a disk change."""
        folder = releases_dir(self._settings) / str(version)
        try:
            release = Release.open(folder, self._settings.serving_max_pixels)
        except InputError:
            # The follower looks again, and fetches it again if it agrees: other workers may serve from this
            # copy.
            suspect_file(self._settings, version).touch()
            raise
        for canary in release.manifest.canaries[:WARM_UPS]:
            release.similar(canary.data, 10, Filters())
        return ServedRelease(version, release, ProductListing(release.index.products))

    def _swap(self, served: ServedRelease, seconds: float) -> None:
        self._previous, self.current = self.current, served
        self._metrics.set_release(served.version, served.release)
        self._metrics.swaps.labels("done").inc()
        products = f"{len(served.release.index):,}"
        log.info("Serving: release %d, %s products, ready after %.1f s", served.version, products, seconds)
