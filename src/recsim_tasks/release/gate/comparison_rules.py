"""The rules that compare a release with the champion, or its new products with existing ones. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.arrays import BoolArray
from recsim_tasks.contracts import RuleResult
from recsim_tasks.release.evaluation.bootstrap import LEVEL, interval, interval_between
from recsim_tasks.release.evaluation.queries import MIN_QUERIES, MIN_SLICE_QUERIES
from recsim_tasks.release.gate.metric_losses import (
    SLICE_METRIC,
    SLICE_SETTING,
    Loss,
    Slice,
    slice_loss,
    too_few,
    within_categories,
)

if TYPE_CHECKING:
    from recsim_tasks.release.evaluation.measure import Comparison, Evaluation

WORST_CATEGORY = "No category is worse"
UNTRAINED = "Untrained categories are no worse"
NEW_PRODUCTS = "New products are no worse"
COMPARABLE = "Comparable with the champion"
# Metrics that are compared query by query, and how people call them.
COMPARED_METRICS = {"precision_at_1": "Precision@1", "precision_at_10": "Precision@10", "map_at_r": "MAP@R"}


def no_worse(compared: Comparison, metric: str, max_drop: float) -> RuleResult:
    """Compare a metric over all queries, query by query."""
    own, other = (side.metrics[metric] for side in (compared.challenger, compared.champion))
    return Loss(
        rule=f"{COMPARED_METRICS[metric]} no worse than the champion",
        metric=metric,
        challenger=compared.challenger.means()[metric],
        reference=compared.champion.means()[metric],
        difference=interval(own - other),
        limit=max_drop,
        setting="RECSIM_GATE_MAX_DROP",
        queries=len(own),
    ).result()


def worst_category(compared: Comparison, max_drop: float) -> RuleResult:
    """Compare each category with enough queries, and report the worst.

    The more categories there are, the likelier is it that one looks bad by chance: the level is Bonferroni's.
    """
    labels = compared.challenger.labels
    names, counts = np.unique(labels.astype(str), return_counts=True)
    large = names[counts >= MIN_SLICE_QUERIES].tolist()
    if not large:
        return too_few(WORST_CATEGORY, "of the largest category", int(counts.max(initial=0)))
    level = 1 - (1 - LEVEL) / len(large)
    parts = [Slice(f"in category {name}", labels == name, level) for name in large]
    results = [slice_loss(WORST_CATEGORY, compared, part, max_drop).result() for part in parts]
    return min(results, key=_badness)


def untrained_categories(compared: Comparison, trained_on: frozenset[str], max_drop: float) -> RuleResult:
    """Compare the categories that are newer than the training, which another encoder may have lost."""
    where = "in untrained categories"
    mask = np.array([label not in trained_on for label in compared.challenger.labels.tolist()], bool)
    if mask.sum() < MIN_SLICE_QUERIES:
        return too_few(UNTRAINED, where, int(mask.sum()))
    return slice_loss(UNTRAINED, compared, Slice(where, mask), max_drop).result()


def new_products(evaluation: Evaluation, new: BoolArray, max_drop: float) -> RuleResult:
    """Compare new products with others of their categories, since the champion does not have them."""
    split = within_categories(evaluation.results, new)
    smaller = min(len(split.new), len(split.existing))
    if smaller < MIN_SLICE_QUERIES:
        return too_few(
            NEW_PRODUCTS, "of new products, and as many existing ones of their categories", smaller
        )
    difference = interval_between(split.new, split.existing)
    loss = Loss(
        rule=NEW_PRODUCTS,
        metric=f"{SLICE_METRIC} of new products, compared with existing ones of their categories,",
        challenger=split.new_mean,
        reference=split.new_mean - difference.mean,
        difference=difference,
        limit=max_drop,
        setting=SLICE_SETTING,
        queries=len(split.new),
    )
    return loss.result().model_copy(update={"champion": None})


def stable_results(compared: Comparison, max_churn: float) -> RuleResult:
    """Check that the same encoder gives the same results, apart from added and withdrawn products."""
    passed, limit, tail = True, "none for another encoder", "another encoder may change its results."
    if compared.same_model:
        passed, limit = compared.churn <= max_churn, f"at most {max_churn}"
        tail = f"the limit for an unchanged encoder is {max_churn:.0%} (RECSIM_GATE_MAX_CHURN)."
    return RuleResult(
        rule="Results are stable",
        passed=passed,
        challenger=compared.churn,
        limit=limit,
        sentence=f"{compared.churn:.1%} of the top-10 results differ from the champion's, "
        f"{compared.lists_changed:.1%} of the lists changed; {tail}",
    )


def comparable(accepted_by: str | None) -> RuleResult:
    """Reject a release that shares too few products with the champion.

    Most other rules could not reject it.
    """
    advice = (
        f"{accepted_by} accepted the feed that caused this."
        if accepted_by
        else "Check the catalogue. If a feed is meant to replace nearly all products, accept it."
    )
    return RuleResult(
        rule=COMPARABLE,
        passed=bool(accepted_by),
        challenger=None,
        limit=f"at least {MIN_QUERIES} shared products",
        sentence=f"fewer than {MIN_QUERIES} products have the same category as in the champion. {advice}",
    )


def not_compared(why: str) -> RuleResult:
    """Passes with a doubt, since otherwise no release could ever replace an unreadable champion."""
    return RuleResult(
        rule=COMPARABLE,
        passed=True,
        challenger=None,
        limit="the champion can be read",
        sentence=f"the release was not compared with the champion. {why}",
        doubtful=True,
    )


def _badness(rule: RuleResult) -> tuple[bool, float]:
    return rule.passed, rule.difference.mean if rule.difference else -np.inf
