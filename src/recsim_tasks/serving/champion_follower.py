"""Follow the registry's champion for all workers of this machine: fetch it, check it, name it in one file that they watch.

Apart from them because MLflow's client takes seconds and a hundred megabytes, and so that a release is fetched once.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from recsim_tasks.foundation.errors import InputError, MissingError, RecsimError, UnavailableError
from recsim_tasks.foundation.publishing import remove, write_json
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.production import Production
    from recsim_tasks.release.registry.references import ReleaseRef

log = logging.getLogger(__name__)

RETRY_REFUSED_SECONDS = 60.0
RETRY_FETCH_SECONDS = 10.0
# MLflow's client takes seconds of a core to import: workers that have a release to begin with come first.
START_SECONDS = 2.0
STARTING = (
    "The server has just started and is looking for the release in Production. Ask again in a few seconds."
)
NAMED = "serving.json"


class Problem(NamedTuple):
    """Why the champion is not what serves."""

    state: str
    """One of `STATES`: all that those learn who ask for the server's health without a token."""
    reason: str
    """The sentence for the log, and for those who may ask."""


JUST_STARTED = Problem("starting", STARTING)
STATES = {
    "starting": "The server looks for the release in Production. Ask again in a few seconds.",
    "no_release": "No release is in Production yet. Run a refresh first.",
    "registry_unavailable": "The MLflow registry does not answer.",
    "alias_not_followed": "The alias champion names a release that may not serve, or none.",
    "release_refused": "The release in Production is not whole, or its model gives other vectors than it must.",
    "release_unavailable": "The release in Production cannot be fetched.",
    "failed": "The server cannot take the release in Production; its log says why.",
}


@dataclass(frozen=True)
class Named:
    """What the workers are to serve, and why it is not the champion if it is not."""

    version: int | None = None
    problem: Problem | None = JUST_STARTED
    registry_up: bool = True

    @classmethod
    def read(cls, path: Path) -> Named:
        """What was named last in `path`; `OSError`, `ValueError` or `TypeError` when it cannot be read."""
        stored = json.loads(path.read_text())
        return cls(**{**stored, "problem": Problem(*stored["problem"]) if stored["problem"] else None})


def releases_of(settings: Settings) -> Path:
    """The folder of the releases that were fetched, `VERSION/` each."""
    return settings.home.absolute() / "releases"


def doubted(settings: Settings, version: int) -> Path:
    """The file by which a worker says that it finds a fetched release not to be whole."""
    return releases_of(settings) / f"{version}.doubted"


def named(settings: Settings) -> Named:
    """What the follower last named; nothing before it has."""
    try:
        return Named.read(releases_of(settings) / NAMED)
    except (OSError, ValueError, TypeError, KeyError):
        return Named()


class Follower:
    """The one that asks the registry."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = releases_of(settings)
        self._registry: Registry | None = None
        self._before: int | None = None
        self._refused: tuple[int, float, Problem] | None = None
        """Version, until when it is not tried again, and why."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow the champion."""
        self._thread.start()

    def stop(self) -> None:
        """End after the poll that is under way."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def poll(self) -> None:
        """Look once. Never raises: what is named stays so, with the problem."""
        now, up = named(self._settings), True
        version, problem = now.version, None
        try:
            version, problem = self._take(self._production(), now.version)
        except UnavailableError as error:
            self._registry, up, problem = None, False, Problem("registry_unavailable", str(error))
        except (RecsimError, OSError) as error:
            problem = Problem("failed", f"The release in Production could not be looked up: {error}")
        except Exception as error:
            log.error("The new release could not be loaded", exc_info=error)
            problem = Problem(
                "failed",
                f"The new release could not be loaded ({type(error).__name__}): see the server's log.",
            )
        self._name(now, Named(version, problem and problem._replace(reason=redacted(problem.reason)), up))

    def _follow(self) -> None:
        if named(self._settings).version is not None:
            self._stopping.wait(START_SECONDS)
        while not self._stopping.is_set():
            self.poll()
            self._stopping.wait(self._settings.serving_poll_seconds)

    def _name(self, before: Named, now: Named) -> None:
        if now == before:
            return
        try:
            write_json(self._folder / NAMED, asdict(now))
        except OSError as error:
            log.info(f"Serving: {self._folder / NAMED} cannot be written: {error}")
            return
        if now.problem and now.problem != before.problem:
            log.info(f"Serving: {now.problem.reason}")
        if now.version != before.version:
            self._before = before.version
            self._forget({str(kept) for kept in (now.version, self._before) if kept})

    def _production(self) -> Production:
        from recsim_tasks.release.registry.client import Registry
        from recsim_tasks.release.registry.promotion import Promotions

        if self._registry is None:
            self._registry = Registry(self._settings)
            Promotions(self._registry).reconcile()
        return self._registry.production()

    def _take(self, production: Production, now: int | None) -> tuple[int | None, Problem | None]:
        """What to name after a look at what is in Production, and why it is not what the registry names."""
        from recsim_tasks.release.registry.client import NO_RELEASE

        champion, alias = production.release, None
        if production.problem:
            alias = Problem("alias_not_followed", production.problem)
        if champion is None:
            return now, alias or (None if now else Problem("no_release", NO_RELEASE))
        if now is not None and now in (champion.version, production.deleted) and self._has(now):
            return now, alias
        version, problem = self._change(champion, now)
        return version, problem or alias

    def _has(self, version: int) -> bool:
        """Whether a release was fetched, and no worker doubts it."""
        return (self._folder / str(version)).exists() and not doubted(self._settings, version).exists()

    def _change(self, champion: ReleaseRef, now: int | None) -> tuple[int | None, Problem | None]:
        """Name the champion once it is here and whole; else what is named `now`, with the reason."""
        if self._refused and self._refused[0] == champion.version and time.monotonic() < self._refused[1]:
            return now, self._refused[2]
        doubted(self._settings, champion.version).unlink(missing_ok=True)
        try:
            self._fetch(champion)
        except (InputError, MissingError) as error:
            refused = Problem("release_refused", f"Release {champion.version} is refused: {error}")
            return now, self._refuse(champion, RETRY_REFUSED_SECONDS, refused)
        except (RecsimError, OSError) as error:
            missed = Problem(
                "release_unavailable", f"Release {champion.version} could not be fetched: {error}"
            )
            return now, self._refuse(champion, RETRY_FETCH_SECONDS, missed)
        return champion.version, None

    def _refuse(self, champion: ReleaseRef, seconds: float, problem: Problem) -> Problem:
        self._refused = (champion.version, time.monotonic() + seconds, problem)
        return problem

    def _fetch(self, champion: ReleaseRef) -> None:
        """Have a whole release in its folder; `InputError` or `MissingError` when it cannot be had."""
        from recsim_tasks.release.registry.local_copy import open_copy

        assert self._registry is not None
        open_copy(self._registry, champion, self._folder / str(champion.version))

    def _forget(self, kept: set[str]) -> None:
        for folder in self._folder.iterdir():
            if folder.name.isdigit() and folder.name not in kept:
                remove(folder)
