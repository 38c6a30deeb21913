"""Results of jobs on the encoder: `tune`, `train` and `embed`."""

from __future__ import annotations

from collections.abc import Mapping

from recsim_tasks.contracts.base import JobResult


class TuneResult(JobResult):
    """`recsim tune`: the best hyperparameters that were found."""

    job = "tune"
    best_params: dict[str, float | str]
    trials: int
    failed: int
    pruned: int
    metric: str
    best_score: float
    champion_score: float | None
    """Of the champion's own hyperparameters."""
    reasons: list[str]

    @property
    def summary(self) -> str:  # noqa: D102
        return " ".join(self.reasons) or f"best {self.metric} {self.best_score:.3f} of {self.trials} trials"


class TrainResult(JobResult):
    """`recsim train`: the trained encoder, and how good it is."""

    job = "train"
    model_fingerprint: str
    ranks: int
    metrics: dict[str, float]
    """Of the validation images, at the end."""
    quality: dict[str, float]
    """Of the test images; empty when none has a category of the training."""
    mlflow_run_id: str
    trained_at: float
    """Seconds since the epoch."""

    @property
    def summary(self) -> str:  # noqa: D102
        parts = {"test images": self.quality, "validation images": self.metrics}
        made = f"encoder {self.model_fingerprint[:12]} by {self.ranks} ranks"
        return made + "".join(f"; {name}: {_listing(values)}" for name, values in parts.items() if values)


class EmbedResult(JobResult):
    """`recsim embed`: how many different images were embedded."""

    job = "embed"
    embedded: int
    reused: int
    """Images that this encoder had embedded before."""
    of: int
    """All images of the catalogue."""
    unembeddable: int
    """Images that do not decode or have no unit vector: their products are in quarantine."""

    @property
    def summary(self) -> str:  # noqa: D102
        return f"embedded {self.embedded:,} of {self.of:,}, reused {self.reused:,}"


def _listing(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())
