"""What earlier refreshes came to: how the gate judged the last one, and whether it rejected a training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.workspace import last_written, read_result
from recsim_tasks.release.evaluation.drift import Drift


@dataclass(frozen=True)
class Judged:
    """A refresh that got as far as the gate."""

    refresh_id: str
    decision: str
    champion: int | None
    """The release that it was compared with."""
    at: float
    """When the gate judged it, in seconds since the epoch."""
    rejected: bool
    mended_by_rebuild: bool
    reasons: str
    drift: Drift | None
    model_fingerprint: str | None
    """The encoder that it trained, if it did."""

    @property
    def rejected_append(self) -> str | None:
        """Why the gate rejected what this refresh appended, when a rebuild mends that; None when it did not."""
        if self.decision != "append" or not self.mended_by_rebuild:
            return None
        return (
            f"The gate holds what refresh {self.refresh_id} appended to the champion's index: {self.reasons}"
        )


def judged_refreshes(settings: Settings) -> list[Judged]:
    """The refreshes that the gate judged, the last one first; a workspace that cannot be read is passed over."""
    return sorted(_found(settings), key=lambda judged: judged.at, reverse=True)


def last_against(refreshes: list[Judged], champion: int) -> Judged | None:
    """The last of the refreshes that were compared with this release."""
    return next((judged for judged in refreshes if judged.champion == champion), None)


def rejected_training(refreshes: list[Judged], since: float, model_fingerprint: str) -> bool:
    """Whether the gate rejected an encoder since that time; the encoder that serves is not meant."""
    trainings = [
        judged
        for judged in refreshes
        if judged.decision == "retrain" and judged.model_fingerprint != model_fingerprint
    ]
    return any(judged.rejected and judged.at > since for judged in trainings)


def _found(settings: Settings) -> Iterator[Judged]:
    for folder in settings.home.absolute().glob("refreshes/*"):
        planned, evaluated, trained = (
            read_result(folder / f"{job}.json") for job in ("plan", "evaluate", "train")
        )
        if evaluated:
            yield Judged(
                refresh_id=str(planned.get("refresh_id")),
                decision=str(planned.get("decision")),
                champion=planned.get("champion"),
                at=last_written(folder / "evaluate.json"),
                rejected=evaluated.get("verdict") == "hold",
                mended_by_rebuild=bool(evaluated.get("mended_by_rebuild")),
                reasons=" ".join(map(str, evaluated.get("reasons") or [])),
                drift=_drift(evaluated.get("metrics")),
                model_fingerprint=trained.get("model_fingerprint"),
            )


def _drift(metrics: Any) -> Drift | None:
    try:
        return Drift.of_metrics(metrics)
    except (TypeError, KeyError):
        return None
