"""Follow the champion: fetch, verify and warm a new release beside the one that serves, then put it in its place by one reference."""

from __future__ import annotations

import shutil
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.foundation.errors import InputError, RecsimError, UnavailableError
from recsim_tasks.foundation.progress import say
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.bundle import Release
from recsim_tasks.serving.metrics import Metrics
from recsim_tasks.vectors.filters import Filters

if TYPE_CHECKING:
    from recsim_tasks.release.registry import Registry, ReleaseRef

WARM_UPS = 3
RETRY_REFUSED_SECONDS = 60.0
STARTING = "The server has just started and is looking for the release in Production. Ask again in a few seconds."


@dataclass(frozen=True)
class Live:
    """A verified release and its version; a request takes hold of one and keeps it to its end."""

    version: int
    release: Release


class HotSwap:
    """Holds the release that answers. One thread changes it; any number may read `current`."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.current: Live | None = None
        self.problem: str | None = STARTING
        """Why nothing serves yet, or why what serves is not the champion; None when it is."""
        self._previous: Live | None = None
        self._settings, self._metrics = settings, metrics
        self._registry: Registry | None = None
        self._refused: tuple[int, float, str] | None = None
        """Version, when, and why."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="hot-swap", daemon=True)

    def start(self) -> None:
        """Begin to follow the champion."""
        self._thread.start()

    def stop(self) -> None:
        """End after the poll that is under way."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def poll(self) -> None:
        """Look once, and swap when the champion is another than what serves. Never raises: what serves goes on, `problem` says why."""
        try:
            champion = self._champion()
            self._metrics.registry_up.set(1)
            self.problem = self._take(champion)
        except UnavailableError as error:
            self._metrics.registry_up.set(0)
            self._registry = None
            self.problem = str(error)
        except (RecsimError, OSError) as error:
            self.problem = f"The new release could not be fetched: {error}"
        except Exception as error:
            traceback.print_exc()
            self.problem = f"The new release could not be loaded ({type(error).__name__}): see the server's log."
        self._metrics.swap_problem.set(0 if self.problem is None else 1)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            before = self.problem
            self.poll()
            if self.problem and self.problem != before:
                say(f"Serving: {self.problem}")
            self._stopping.wait(self._settings.serving_poll_seconds)

    def _champion(self) -> ReleaseRef | None:
        from recsim_tasks.release.registry import Registry

        if self._registry is None:
            self._registry = Registry(self._settings)
        return self._registry.champion()

    def _take(self, champion: ReleaseRef | None) -> str | None:
        """Serve `champion`; returns why not."""
        from recsim_tasks.release.registry import NO_RELEASE

        if champion is None:
            return None if self.current else NO_RELEASE
        if self.current and self.current.version == champion.version:
            return None
        if self._refused and self._refused[0] == champion.version and time.monotonic() - self._refused[1] < RETRY_REFUSED_SECONDS:
            return self._refused[2]
        began = time.monotonic()
        try:
            live = self._previous if self._previous and self._previous.version == champion.version else self._open(champion)
        except InputError as error:
            reason = f"Release {champion.version} is refused: {error}"
            self._refused = (champion.version, time.monotonic(), reason)
            self._metrics.swaps.labels("refused").inc()
            return reason
        self._swap(live, time.monotonic() - began)
        return None

    def _open(self, champion: ReleaseRef) -> Live:
        assert self._registry is not None
        folder = self._folder / str(champion.version)
        if not folder.exists():
            self._registry.download(champion.version, folder)
        try:
            release = Release.open(folder, self._settings.image_max_pixels)
            found = release.manifest
            if (found.model_fingerprint, found.cursor) != (champion.model_fingerprint, champion.cursor):
                raise InputError("its model or catalogue version is not the one that the registry names. Register the release anew.")
        except InputError:
            shutil.rmtree(folder, ignore_errors=True)  # so that the next try fetches it again
            raise
        for canary in release.manifest.canaries[:WARM_UPS]:
            release.similar(canary.data, 10, Filters())
        return Live(champion.version, release)

    def _swap(self, live: Live, seconds: float) -> None:
        self._previous, self.current = self.current, live
        self._metrics.serves(live.version, live.release)
        self._metrics.swaps.labels("done").inc()
        say(f"Serving: release {live.version}, {len(live.release.index):,} products, ready after {seconds:.1f} s")
        self._forget({str(kept.version) for kept in (self.current, self._previous) if kept})

    def _forget(self, kept: set[str]) -> None:
        for folder in self._folder.iterdir():
            if folder.name.isdigit() and folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    @property
    def _folder(self) -> Path:
        return self._settings.home.absolute() / "releases"
