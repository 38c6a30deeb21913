"""Losses of a metric against the champion or existing products, and when a loss breaks a rule. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.arrays import BoolArray, Float64Array
from recsim_tasks.contracts import ConfidenceInterval, RuleResult
from recsim_tasks.release.evaluation.bootstrap import LEVEL, Interval, interval
from recsim_tasks.release.evaluation.queries import MIN_SLICE_QUERIES, QueryResults

if TYPE_CHECKING:
    from recsim_tasks.release.evaluation.measure import Comparison

SLICE_METRIC = "precision_at_10"
SLICE_SETTING = "RECSIM_GATE_MAX_CATEGORY_DROP"


@dataclass(frozen=True, kw_only=True)
class Loss:
    """How a metric differs from what it is compared with, and how much it may lose."""

    rule: str
    metric: str
    """The metric and the queries, as the sentence names them."""
    challenger: float
    reference: float
    difference: Interval
    limit: float
    setting: str
    """The setting that has the limit."""
    queries: int

    def result(self) -> RuleResult:
        """Broken if the loss exceeds the limit and its interval excludes zero; NaN breaks it."""
        too_large = not self.difference.mean >= -self.limit
        significant = not self.difference.high >= 0
        doubt = (
            " The loss exceeds the limit, but may be due to chance." if too_large and not significant else ""
        )
        mean, low, high = self.difference
        return RuleResult(
            rule=self.rule,
            passed=not (too_large and significant),
            challenger=measured(self.challenger),
            champion=measured(self.reference),
            difference=None if np.isnan(mean) else ConfidenceInterval(mean=mean, low=low, high=high),
            limit=f"at most {self.limit} lower",
            sentence=(
                f"{self.metric} is {self.challenger:.4f}, compared with {self.reference:.4f}, for "
                f"{self.queries:,} queries: a difference of {mean:+.4f} ({low:+.4f} to {high:+.4f}); the "
                f"limit is -{self.limit} ({self.setting}).{doubt}"
            ),
            doubtful=too_large and not significant,
        )


@dataclass(frozen=True)
class Slice:
    """A part of the queries that is compared by itself."""

    where: str
    """How the sentence names it."""
    mask: BoolArray
    """Which queries, [q]."""
    level: float = LEVEL
    """Of the confidence interval."""


def slice_loss(rule: str, compared: Comparison, part: Slice, max_drop: float) -> Loss:
    """Compare a part of the queries with the champion, query by query."""
    own, other = (side.metrics[SLICE_METRIC][part.mask] for side in (compared.challenger, compared.champion))
    return Loss(
        rule=rule,
        metric=f"{SLICE_METRIC} {part.where}",
        challenger=float(own.mean()),
        reference=float(other.mean()),
        difference=interval(own - other, part.level),
        limit=max_drop,
        setting=SLICE_SETTING,
        queries=int(part.mask.sum()),
    )


@dataclass(frozen=True)
class Split:
    """A metric of new and existing products, each minus the mean of its category's existing ones."""

    new: Float64Array
    existing: Float64Array
    new_mean: float
    """The mean of the new products' metric; NaN without any."""


def within_categories(results: QueryResults, added: BoolArray) -> Split:
    """Split by categories that have both new and existing products."""
    values, new, existing, raw = results.metrics[SLICE_METRIC], [np.empty(0)], [np.empty(0)], [np.empty(0)]
    for name in np.unique(results.labels.astype(str)):
        mask = results.labels == name
        added_values, existing_values = values[mask & added], values[mask & ~added]
        if len(added_values) and len(existing_values):
            new.append(added_values - existing_values.mean())
            existing.append(existing_values - existing_values.mean())
            raw.append(added_values)
    together = np.concatenate(raw)
    mean = float(together.mean()) if len(together) else float("nan")
    return Split(np.concatenate(new), np.concatenate(existing), mean)


def too_few(rule: str, where: str, queries: int) -> RuleResult:
    """Passes: a share of so few queries is too uncertain."""
    return RuleResult(
        rule=rule,
        passed=True,
        challenger=None,
        limit=f"at least {MIN_SLICE_QUERIES} queries",
        sentence=f"Not evaluated: {queries} queries {where}, at least {MIN_SLICE_QUERIES} are needed.",
    )


def measured(value: float | None) -> float | None:
    """The figure, or None if it is NaN."""
    return None if value is None or np.isnan(value) else float(value)
