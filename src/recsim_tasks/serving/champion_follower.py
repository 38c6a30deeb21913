"""Follow the registry's champion for all workers of this machine: fetch it, check it, make it their target.

This runs outside the workers, so that a release is fetched once, and because MLflow's client takes seconds
and a hundred megabytes.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from recsim_tasks.foundation.errors import InputError, MissingError, RecsimError, UnavailableError
from recsim_tasks.foundation.outages import outage_behind
from recsim_tasks.foundation.publishing import remove, write_json
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.serving.backoff import RETRY_REFUSED_SECONDS, RETRY_UNAVAILABLE_SECONDS, Backoff, Clock
from recsim_tasks.serving.polling import PollingThread
from recsim_tasks.serving.target import TARGET_FILE, Problem, ServingTarget, releases_dir, suspect_file

if TYPE_CHECKING:
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.production import Production
    from recsim_tasks.release.registry.references import ReleaseRef

log = logging.getLogger(__name__)

# Importing MLflow's client takes seconds of a core: workers that already have a release start first.
START_SECONDS = 2.0


class ChampionFollower(PollingThread):
    """The one thread of a server that talks to the registry."""

    def __init__(self, settings: Settings, clock: Clock = time.monotonic) -> None:
        delay = 0.0 if ServingTarget.read(settings).version is None else START_SECONDS
        super().__init__("champion-follower", settings.serving_poll_seconds, delay)
        self._settings = settings
        self._folder = releases_dir(settings)
        self._registry: Registry | None = None
        self._previous: int | None = None
        self._backoff = Backoff(clock)

    def poll(self) -> None:
        """Look at the registry once and update the target; a failure becomes its `problem`."""
        before, registry_up = ServingTarget.read(self._settings), True
        version, problem = before.version, None
        try:
            version, problem = self._choose(self._production(), before.version)
        except UnavailableError as error:
            self._registry, registry_up = None, False
            problem = Problem("registry_unavailable", str(error))
        except (RecsimError, OSError) as error:
            problem = Problem("failed", f"The release in Production could not be looked up: {error}")
        except Exception as error:
            log.error("The release in Production could not be looked up or fetched", exc_info=error)
            cause = f"{type(error).__name__}; the server's log has more"
            reason = f"The release in Production could not be looked up or fetched ({cause})."
            problem = Problem("failed", reason)
        if problem:
            problem = problem._replace(reason=redacted(problem.reason))
        self._update_target(before, ServingTarget(version, problem, registry_up))

    def _update_target(self, before: ServingTarget, target: ServingTarget) -> None:
        if target == before:
            return
        try:
            write_json(self._folder / TARGET_FILE, asdict(target))
        except (RecsimError, OSError) as error:
            log.error("Serving: cannot write %s: %s", self._folder / TARGET_FILE, error)
            return
        if target.problem and target.problem != before.problem:
            log.warning("Serving: %s", target.problem.reason)
        if target.version != before.version:
            self._previous = before.version
            self._delete_copies_except({target.version, self._previous})

    def _production(self) -> Production:
        from recsim_tasks.release.registry.client import Registry
        from recsim_tasks.release.registry.promotion import Promotions

        if self._registry is None:
            self._registry = Registry(self._settings)
            Promotions(self._registry).reconcile()
        return self._registry.production()

    def _choose(self, production: Production, current: int | None) -> tuple[int | None, Problem | None]:
        """Return the version to serve, and why it is not the champion."""
        from recsim_tasks.release.registry.client import NO_RELEASE

        champion, alias_problem = production.release, None
        if production.problem:
            alias_problem = Problem("alias_not_followed", production.problem)
        if champion is None:
            return current, alias_problem or (None if current else Problem("no_release", NO_RELEASE))
        if (
            current is not None
            and current in (champion.version, production.deleted)
            and self._has_copy(current)
        ):
            return current, alias_problem
        problem = self._prepare(champion)
        return (current, problem) if problem else (champion.version, alias_problem)

    def _has_copy(self, version: int) -> bool:
        """Whether a release was fetched and no worker suspects it."""
        return (self._folder / str(version)).exists() and not suspect_file(self._settings, version).exists()

    def _prepare(self, champion: ReleaseRef) -> Problem | None:
        """Fetch and check the champion; return why that failed. An outage is not a refusal."""
        version = champion.version
        if blocked := self._backoff.blocks(version):
            return blocked
        try:
            self._fetch(champion)
            suspect_file(self._settings, version).unlink(missing_ok=True)
        except (RecsimError, OSError) as error:
            outage = outage_behind(error, str(self._folder))
            if isinstance(error, InputError | MissingError) and not outage:
                problem = Problem("release_refused", f"Release {version} is refused: {error}")
                return self._backoff.failed(version, problem, RETRY_REFUSED_SECONDS)
            reason = f"Release {version} could not be fetched: {outage or error}"
            return self._backoff.failed(
                version, Problem("release_unavailable", reason), RETRY_UNAVAILABLE_SECONDS
            )
        return None

    def _fetch(self, champion: ReleaseRef) -> None:
        """Fetch a release unless its copy is complete.

        `InputError` or `MissingError` when it cannot be.
        """
        from recsim_tasks.release.registry.local_copy import open_copy

        assert self._registry is not None
        folder = self._folder / str(champion.version)
        open_copy(self._registry, champion, folder, self._settings.serving_max_pixels)

    def _delete_copies_except(self, versions: set[int | None]) -> None:
        """Delete the copies of other releases, and the reports of damage to them."""
        for path in self._folder.iterdir():
            if path.stem.isdigit() and int(path.stem) not in versions:
                remove(path)
