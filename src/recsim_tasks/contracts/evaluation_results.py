"""The result of `evaluate`: metrics, and what each rule of the gate measured."""

from __future__ import annotations

from recsim_tasks.contracts.base import JobResult, Record, Verdict
from recsim_tasks.contracts.index_results import RebuildComparison
from recsim_tasks.contracts.plan_results import Decision


class Metrics(Record):
    """The quality of a release, measured on its own products."""

    precision_at_1: float
    precision_at_10: float
    map_at_r: float
    r_precision: float
    ann_recall_at_10: float
    """Share of the exact ten nearest neighbours that the index finds."""
    built_recall: float
    """The same when the index was built."""
    imbalance_growth: float
    """How much more unequal the lists of the index have become since it was built; 1 for no change."""
    query_cpu_p95_ms: float
    """95th percentile of the processor time of a query, in milliseconds."""
    coverage: float | None
    """Share of the tried images that find their own product; None when no image was tried."""
    drift: float | None = None
    """Likelihood that a new image lies farther from the known ones than a held-out image; None when not
    measured."""
    drift_images: float | None = None
    drift_held_out_error: float | None = None

    @property
    def measured(self) -> dict[str, float]:
        """The metrics that were measured, by name."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class SliceMetrics(Record):
    """The quality of a part of the queries."""

    queries: int
    precision_at_1: float
    precision_at_10: float


class ConfidenceInterval(Record):
    """A mean and its 95% confidence interval."""

    mean: float
    low: float
    high: float


class RuleResult(Record):
    """What one rule of the gate measured, its limit, and a sentence for people."""

    rule: str
    passed: bool
    challenger: float | None
    """None when the figure could not be measured."""
    champion: float | None = None
    difference: ConfidenceInterval | None = None
    """Challenger minus champion on the same queries, where it was measured query by query."""
    limit: str
    sentence: str
    doubtful: bool = False
    """Whether the loss exceeds the limit but may be due to chance."""


class EvaluateResult(JobResult):
    """`recsim evaluate`: the metrics of the release, and what each rule of the gate says of them."""

    job = "evaluate"
    verdict: Verdict
    reasons: list[str]
    """A sentence of each broken rule; of every rule when none is broken."""
    doubts: list[str]
    """A sentence of each rule that would be broken if the loss were not possibly due to chance."""
    mended_by_rebuild: bool
    """Whether a rule about the index is broken, so that a rebuild can help."""
    rules: list[RuleResult]
    metrics: Metrics
    slices: dict[str, SliceMetrics]
    """By category."""
    since_training: dict[str, SliceMetrics]
    """Products with an image that is `added` since the training, and `existing` ones; empty when not
    known."""
    since_champion: dict[str, SliceMetrics]
    """Products with an image that is `added` since the champion, and `existing` ones; empty without a
    champion."""
    rebuild: RebuildComparison
    champion: int | None
    """The release that it was compared with."""
    decision: Decision
    """The plan's decision that made the release: the workspace may have another plan by now."""
    index_fingerprint: str
    """The index that was judged; `register` refuses any other."""

    @property
    def summary(self) -> str:  # noqa: D102
        broken = [rule.rule for rule in self.rules if not rule.passed]
        rules = f"broken: {', '.join(broken)}" if broken else f"all {len(self.rules)} rules passed"
        figures = f"precision@1 {self.metrics.precision_at_1:.3f}, @10 {self.metrics.precision_at_10:.3f}"
        return " ".join([f"{self.verdict}: {figures}; {rules}.", *self.doubts])
