"""Outcomes of earlier refreshes: the last verdict, and whether a training was rejected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from recsim_tasks.contracts import Decision, EvaluateResult, PlanResult, TrainResult
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.workspace import last_written, read_result
from recsim_tasks.release.evaluation.drift import Drift


@dataclass(frozen=True)
class EvaluatedRefresh:
    """A refresh whose release was evaluated."""

    refresh_id: str
    decision: Decision
    """What made the release: the refresh may have been planned again since."""
    champion: int | None
    """The release that it was compared with."""
    at: float
    """When it was evaluated, in seconds since the epoch."""
    rejected: bool
    mended_by_rebuild: bool
    reasons: str
    drift: Drift | None
    model_fingerprint: str | None
    """The encoder that it trained, if it trained one."""

    @property
    def rejected_append(self) -> str | None:
        """Why the gate rejected what this refresh appended, if a rebuild can help; None otherwise."""
        if self.decision != "append" or not self.mended_by_rebuild:
            return None
        return (
            f"The gate rejected what refresh {self.refresh_id} appended to the champion's index: "
            f"{self.reasons}"
        )


def evaluated_refreshes(settings: Settings) -> list[EvaluatedRefresh]:
    """The refreshes whose releases were evaluated, newest first.

    Workspaces that cannot be read are skipped.
    """
    return sorted(_read_all(settings), key=lambda refresh: refresh.at, reverse=True)


def last_compared_with(refreshes: list[EvaluatedRefresh], champion: int) -> EvaluatedRefresh | None:
    """The newest of the refreshes that were compared with this release."""
    return next((refresh for refresh in refreshes if refresh.champion == champion), None)


def training_rejected(refreshes: list[EvaluatedRefresh], since: float, model_fingerprint: str) -> bool:
    """Whether the gate rejected a newly trained encoder since that time, other than the one that serves."""
    return any(
        refresh.rejected and refresh.at > since
        for refresh in refreshes
        if refresh.decision == "retrain" and refresh.model_fingerprint != model_fingerprint
    )


def _read_all(settings: Settings) -> Iterator[EvaluatedRefresh]:
    for folder in settings.home.absolute().glob("refreshes/*"):
        plan, evaluated = read_result(folder, PlanResult), read_result(folder, EvaluateResult)
        trained = read_result(folder, TrainResult)
        if plan and evaluated:
            yield EvaluatedRefresh(
                refresh_id=plan.refresh_id,
                decision=evaluated.decision,
                champion=evaluated.champion,
                at=last_written(folder / f"{EvaluateResult.job}.json"),
                rejected=evaluated.verdict == "rejected",
                mended_by_rebuild=evaluated.mended_by_rebuild,
                reasons=" ".join(evaluated.reasons),
                drift=Drift.of_metrics(evaluated.metrics),
                model_fingerprint=trained.model_fingerprint if trained else None,
            )
