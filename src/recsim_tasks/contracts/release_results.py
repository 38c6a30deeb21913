"""Results of jobs on a release: from `register` to `verify`, `rollback` and `resume`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recsim_tasks.contracts.base import JobResult, Record, Verdict


class RegisterResult(JobResult):
    """`recsim register`: the release in the registry, with its stage and verdict."""

    job = "register"
    version: int
    previous: int | None
    """The champion that it was compared with."""
    stage: str
    """`Staging`; of a release that was promoted before this ran again, its stage now."""
    verdict: Verdict
    mlflow_page: str

    @property
    def summary(self) -> str:  # noqa: D102
        return f"release {self.version} is registered in {self.stage}, verdict {self.verdict}"


class GateResult(JobResult):
    """`recsim gate`: whether the release may be promoted. Exit code 3 when it is rejected."""

    job = "gate"
    version: int
    verdict: Verdict
    reasons: list[str]
    """A sentence of each broken rule; of every rule when none is broken."""
    mlflow_page: str

    @property
    def summary(self) -> str:  # noqa: D102
        return f"release {self.version} {self.verdict}: {' '.join(self.reasons)}"


class PromoteResult(JobResult):
    """`recsim promote`: the release that is in Production."""

    job = "promote"
    version: int
    previous: int | None
    stage: str

    @property
    def summary(self) -> str:  # noqa: D102
        instead = f", instead of {self.previous}" if self.previous else ""
        return f"release {self.version} is in {self.stage}{instead}"


class VerifyResult(JobResult):
    """`recsim verify`: whether the serving side answers from the release."""

    job = "verify"
    version: int
    live: bool | None
    """None when no serving side is set."""
    waited_seconds: float | None
    reasons: list[str]

    @property
    def summary(self) -> str:  # noqa: D102
        return " ".join(self.reasons)


class Freeze(Record):
    """Promotions are frozen after a rollback until a person resumes them."""

    by: str
    through: Literal["airflow", "cli"]
    at: float
    """Seconds since the epoch."""
    reason: str
    release: int | None
    """The release that was rolled back; None when there was no champion, or `to` was the champion."""
    to: int
    """The release that took its place."""
    unreadable: list[int] = Field(default=[])
    """Newer releases that were passed over because they cannot be read."""


class RollbackResult(JobResult):
    """`recsim rollback`: the earlier release that is in Production again."""

    job = "rollback"
    version: int
    previous: int | None
    stage: str
    frozen: Freeze
    reasons: list[str]

    @property
    def summary(self) -> str:  # noqa: D102
        return " ".join(self.reasons)


class ResumeResult(JobResult):
    """`recsim resume`: promotions are no longer frozen."""

    job = "resume"
    version: int | None
    """The release in Production."""
    frozen: None = None
    reasons: list[str]

    @property
    def summary(self) -> str:  # noqa: D102
        return " ".join(self.reasons)
