"""The result of `plan`."""

from __future__ import annotations

from typing import Literal

from recsim_tasks.contracts.base import Cursor, JobResult, Record

Decision = Literal["skip", "append", "rebuild", "retrain"]


class Estimate(Record):
    """What a refresh will cost."""

    images: int
    """Images to embed."""
    minutes: float | None
    """Median of the last refreshes with the same decision; None without any."""

    @property
    def sentence(self) -> str:
        """The estimate in brackets; empty when nothing is to be embedded."""
        if not self.images:
            return ""
        minutes = "" if self.minutes is None else f"about {self.minutes:g} min, "
        return f" ({minutes}{self.images:,} images to embed)"


class PlanResult(JobResult):
    """`recsim plan`: what the refresh does, and why."""

    job = "plan"
    refresh_id: str
    decision: Decision
    reasons: list[str]
    warm_start: bool
    """Whether a training starts from the champion's weights."""
    cursor: Cursor | None
    """Up to where the champion reflects the catalogue; None without a champion."""
    head: Cursor
    """The version of the catalogue that this refresh takes in."""
    changes: dict[str, int]
    """Changed products by type: `insert`, `replace` (another image), `update` (other fields), `delete`."""
    champion: int | None
    """Version of the champion."""
    champion_unreadable: str | None
    """Why the champion cannot be read, if it cannot."""
    estimate: Estimate

    @property
    def summary(self) -> str:  # noqa: D102
        why = " ".join(self.reasons)
        return (f"{self.decision}: {why}" if why else self.decision) + self.estimate.sentence
