"""Do not retry a release that has just failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from recsim_tasks.serving.target import Problem

RETRY_REFUSED_SECONDS = 60.0
RETRY_UNAVAILABLE_SECONDS = 10.0
Clock = Callable[[], float]


@dataclass
class Backoff:
    """Remembers the last release that failed, why, and until when it must not be tried again."""

    clock: Clock = time.monotonic
    _version: int | None = field(default=None, init=False)
    _until: float = field(default=0.0, init=False)
    _problem: Problem | None = field(default=None, init=False)

    def failed(self, version: int, problem: Problem, seconds: float) -> Problem:
        """Remember `problem`, and block `version` for `seconds`; returns `problem`."""
        self._version, self._until, self._problem = version, self.clock() + seconds, problem
        return problem

    def blocks(self, version: int) -> Problem | None:
        """Return why `version` must not be tried now; None when it may be."""
        return self._problem if version == self._version and self.clock() < self._until else None
