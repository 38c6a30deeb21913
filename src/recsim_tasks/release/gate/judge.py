"""The gate: may this release replace the champion? Pure: evidence in, judgement out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recsim_tasks.contracts import RuleResult, Verdict
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.gate import comparison_rules, rules
from recsim_tasks.release.gate.comparison_rules import COMPARED_METRICS
from recsim_tasks.release.gate.rules import INDEX_RULES

if TYPE_CHECKING:
    from recsim_tasks.release.evaluation.measure import Comparison, Evaluation
    from recsim_tasks.vectors.consistency import Verification


@dataclass(frozen=True)
class Evidence:
    """All that the gate judges a release by."""

    evaluation: Evaluation
    rebuild: Verification
    """How the index differs from a rebuild."""
    trained_on: frozenset[str]
    """The categories that its encoder was trained on."""
    comparison: Comparison | None = None
    """With the champion; None if there is none, or if the two share too few products."""
    withdrawn: float | None = None
    """Share of the champion's products that the release does not have; None without a champion."""
    accepted_by: str | None = None
    """Who accepted a feed that a guard had put on hold because it withdraws or moves many products."""
    champion_unreadable: str | None = None
    """Why the champion cannot be compared with, if its files cannot be read."""


@dataclass(frozen=True)
class Judgement:
    """The verdict, and every rule that led to it."""

    rules: list[RuleResult]

    @property
    def verdict(self) -> Verdict:
        """`rejected` if any rule is broken."""
        return "rejected" if self.broken else "passed"

    @property
    def broken(self) -> list[RuleResult]:
        """The rules that are broken."""
        return [rule for rule in self.rules if not rule.passed]

    @property
    def reasons(self) -> list[str]:
        """A sentence of each broken rule; of every rule when none is broken."""
        return [_sentence(rule) for rule in self.broken or self.rules]

    @property
    def doubts(self) -> list[str]:
        """A sentence of each rule that would be broken if the loss were not possibly due to chance."""
        return [_sentence(rule) for rule in self.rules if rule.doubtful]

    @property
    def mended_by_rebuild(self) -> bool:
        """Whether a rule about the index is broken, so that a rebuild can help."""
        return any(rule.rule in INDEX_RULES for rule in self.broken)


def judge(settings: Settings, evidence: Evidence) -> Judgement:
    """Judge a challenger by itself, and against the champion if there is one.

    A figure that could not be measured breaks its rule. A loss breaks a rule only if it exceeds the limit and
    its confidence interval excludes zero: differences due to chance alone do not reject a release.
    """
    return Judgement(list(_rules(settings, evidence)))


def _rules(settings: Settings, evidence: Evidence) -> Iterator[RuleResult]:
    evaluation, compared = evidence.evaluation, evidence.comparison
    yield rules.index_recall(evaluation, compared, settings.gate_min_recall)
    yield from rules.like_a_rebuild(evidence.rebuild)
    yield rules.coverage(evaluation)
    if compared is None:
        yield rules.better_than_guessing(evaluation)
    else:
        yield from _comparisons(settings, compared, evidence.trained_on)
    yield rules.query_time(evaluation.times, settings.gate_max_slowdown)
    if evidence.withdrawn is not None:
        if compared is None:
            yield comparison_rules.comparable(evidence.accepted_by)
        yield rules.products_kept(evidence.withdrawn, settings.gate_max_withdrawn, evidence.accepted_by)
    if evaluation.new_since_champion is not None:
        yield comparison_rules.new_products(
            evaluation, evaluation.new_since_champion, settings.gate_max_category_drop
        )
    if evidence.champion_unreadable:
        yield comparison_rules.not_compared(evidence.champion_unreadable)


def _comparisons(
    settings: Settings, compared: Comparison, trained_on: frozenset[str]
) -> Iterator[RuleResult]:
    max_slice_drop = settings.gate_max_category_drop
    yield from (
        comparison_rules.no_worse(compared, name, settings.gate_max_drop) for name in COMPARED_METRICS
    )
    yield comparison_rules.worst_category(compared, max_slice_drop)
    yield comparison_rules.untrained_categories(compared, trained_on, max_slice_drop)
    yield comparison_rules.stable_results(compared, settings.gate_max_churn)


def _sentence(rule: RuleResult) -> str:
    return f"{rule.rule}: {rule.sentence}"
