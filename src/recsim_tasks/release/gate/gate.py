"""The gate: may this release follow the champion? Pure: figures in, verdict and reasons out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.gate import rules
from recsim_tasks.release.gate.rules import OF_THE_INDEX, OVERALL, Rule

if TYPE_CHECKING:
    from recsim_tasks.release.evaluation.bootstrap import Interval
    from recsim_tasks.release.evaluation.evaluate import Comparison, Evaluation
    from recsim_tasks.vectors.consistency import Verification


@dataclass(frozen=True)
class Verdict:
    """The decision, and every rule that made it."""

    rules: list[Rule]

    @property
    def verdict(self) -> Literal["pass", "hold"]:
        """Hold when any rule is broken."""
        return "pass" if all(rule.passed for rule in self.rules) else "hold"

    @property
    def reasons(self) -> list[str]:
        """A sentence of each rule: the broken ones of a hold, all of a pass."""
        told = [rule for rule in self.rules if not rule.passed] or self.rules
        return [f"{rule.rule}: {rule.sentence}" for rule in told]

    @property
    def doubts(self) -> list[str]:
        """A sentence of each rule that is kept only because chance may have broken it."""
        return [f"{rule.rule}: {rule.sentence}" for rule in self.rules if rule.doubtful]

    @property
    def mended_by_rebuild(self) -> bool:
        """Whether the index is to blame for a hold, and not the model."""
        return any(rule.rule in OF_THE_INDEX and not rule.passed for rule in self.rules)

    def as_result(self) -> dict[str, Any]:
        """The form in which it is stored; JSON knows no NaN, what is none is null there."""
        rules = [
            {
                **rule._asdict(),
                "challenger": _known(rule.challenger),
                "champion": _known(rule.champion),
                "difference": _interval(rule.difference),
            }
            for rule in self.rules
        ]
        told = {"verdict": self.verdict, "reasons": self.reasons, "doubts": self.doubts}
        return {**told, "mended_by_rebuild": self.mended_by_rebuild, "rules": rules}


def judge(
    settings: Settings,
    evaluation: Evaluation,
    compared: Comparison | None,
    verified: Verification,
    trained_on: frozenset[str],
    withdrawn: float | None = None,
    accepted_by: str | None = None,
) -> Verdict:
    """Judge a challenger by itself, and against the champion when there is one.

    `trained_on` are the categories that its model was trained on. `withdrawn` is the share of the champion's products that it lacks, None
    without a champion; `accepted_by` names who accepted a feed that a guard held because it would withdraw much. `compared` is None when
    there is no champion, or when the two have too few products in common. A figure that is not a number breaks its rule. A difference
    holds only when it is larger than allowed and its interval excludes that there is none: what chance does alone does not hold.
    """
    drop, by_part = settings.gate_max_drop, settings.gate_max_category_drop
    found = [
        rules.recall(evaluation, compared, settings.gate_min_recall),
        *rules.like_a_rebuild(verified),
        rules.coverage(evaluation),
    ]
    if compared is None:
        found.append(rules.better_than_guessing(evaluation))
    else:
        found += [rules.no_worse(compared, name, drop) for name in OVERALL]
        found += [rules.by_category(compared, by_part), rules.not_trained_on(compared, trained_on, by_part)]
        found.append(rules.neighbours_stay(compared, settings.gate_max_churn))
    found.append(rules.quick_enough(evaluation.times, settings.gate_max_slowdown))
    if withdrawn is not None:
        found += [] if compared else [rules.comparable(accepted_by)]
        found.append(rules.products_stay(withdrawn, settings.gate_max_withdrawn, accepted_by))
    if evaluation.added_now is not None:
        found.append(rules.added(evaluation, evaluation.added_now, by_part))
    return Verdict(found)


def _interval(found: Interval | None) -> dict[str, float | None] | None:
    return None if found is None else {name: _known(value) for name, value in found._asdict().items()}


def _known(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
