"""Serve what the follower names: open, verify and warm a release beside the one that answers, then put it in its place by one reference."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.bundle import Release
from recsim_tasks.serving.champion_follower import (
    JUST_STARTED,
    RETRY_REFUSED_SECONDS,
    Problem,
    doubted,
    named,
    releases_of,
)
from recsim_tasks.serving.metrics import Metrics
from recsim_tasks.serving.product_listing import Shelf
from recsim_tasks.vectors.filters import Filters

log = logging.getLogger(__name__)

WARM_UPS = 3
# Between two looks at a small file on this machine.
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Live:
    """A verified release and its version; a request takes hold of one and keeps it to its end."""

    version: int
    release: Release
    shelf: Shelf


class HotSwap:
    """Holds the release that answers in this worker. One thread changes it; any number may read `current`."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.current: Live | None = None
        self.problem: Problem | None = JUST_STARTED
        """Why nothing serves yet, or why what serves is not the champion; None when it is."""
        self._previous: Live | None = None
        self._settings, self._metrics = settings, metrics
        self._refused: tuple[int, float, Problem] | None = None
        """Version, when, and why."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="hot-swap", daemon=True)

    def start(self) -> None:
        """Begin to follow what is named."""
        self._thread.start()

    def stop(self) -> None:
        """End after the look that is under way."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def poll(self) -> None:
        """Look once, and swap when another release is named than what serves. Never raises: what serves goes on, `problem` says why."""
        found = named(self._settings)
        self._metrics.tell("recsim_registry_up", found.registry_up)
        try:
            own = self._take(found.version)
        except Exception as error:
            log.error("Release %s could not be loaded", found.version, exc_info=error)
            own = Problem(
                "failed",
                f"Release {found.version} could not be loaded ({type(error).__name__}: {error}): see the server's log.",
            )
        if self.current is None:
            self._metrics.tell("recsim_release", 0)  # others of its server may have one
        self.problem = own or found.problem
        self._metrics.tell("recsim_swap_problem", 0 if self.problem is None else 1)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            before = self.problem
            self.poll()
            if self.problem and self.problem != before:
                log.info(f"Serving: {self.problem.reason}")
            self._stopping.wait(POLL_SECONDS)

    def _take(self, version: int | None) -> Problem | None:
        """Serve `version`; returns why not."""
        if version is None or (self.current and self.current.version == version):
            return None
        if (
            self._refused
            and self._refused[0] == version
            and time.monotonic() - self._refused[1] < RETRY_REFUSED_SECONDS
        ):
            return self._refused[2]
        began = time.monotonic()
        try:
            live = (
                self._previous
                if self._previous and self._previous.version == version
                else self._open(version)
            )
        except InputError as error:
            problem = Problem("release_refused", f"Release {version} is refused: {error}")
            self._refused = (version, time.monotonic(), problem)
            self._metrics.swaps.labels("refused").inc()
            return problem
        self._swap(live, time.monotonic() - began)
        return None

    def _open(self, version: int) -> Live:
        """Whatever the follower has checked: files on a disk change."""
        try:
            release = Release.open(
                releases_of(self._settings) / str(version), self._settings.serving_max_pixels
            )
        except InputError:
            doubted(
                self._settings, version
            ).touch()  # for the follower to look, and to fetch it again: others may serve from it
            raise
        for canary in release.manifest.canaries[:WARM_UPS]:
            release.similar(canary.data, 10, Filters())
        return Live(version, release, Shelf(release.index.products))

    def _swap(self, live: Live, seconds: float) -> None:
        self._previous, self.current = self.current, live
        self._metrics.serves(live.version, live.release)
        self._metrics.swaps.labels("done").inc()
        log.info(
            f"Serving: release {live.version}, {len(live.release.index):,} products, ready after {seconds:.1f} s"
        )
