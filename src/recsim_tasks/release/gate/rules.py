"""The gate's rules: each looks at its figures and says whether it is kept, with a sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsim_tasks.arrays import AnyArray, BoolArray, Float64Array
from recsim_tasks.release.evaluation.bootstrap import LEVEL, Interval, interval, interval_between
from recsim_tasks.release.evaluation.queries import FEWEST_OF_A_PART, FEWEST_QUERIES
from recsim_tasks.release.evaluation.speed import QUICK_MS, allowed_ms

if TYPE_CHECKING:
    from recsim_tasks.release.evaluation.evaluate import Comparison, Evaluation
    from recsim_tasks.release.evaluation.speed import QueryTimes
    from recsim_tasks.vectors.consistency import Verification

RECALL, SAME_CONTENTS, SAME_NEIGHBOURS = (
    "Recall of the index",
    "Same contents as a rebuild",
    "Same neighbours as a rebuild",
)
COVERAGE = "Every product is found"
CATEGORIES, UNTRAINED, NEW = (
    "No category worse",
    "No worse where it was not trained",
    "No worse where it is new",
)
# What the index alone can be to blame for, so that building it anew mends it.
OF_THE_INDEX = frozenset({RECALL, SAME_CONTENTS, SAME_NEIGHBOURS, COVERAGE})
LEAST_COVERAGE = 0.999
NOT_MEASURED = float("nan")
OVERALL = {"precision_at_1": "Precision@1", "precision_at_10": "Precision@10", "map_at_r": "MAP@R"}


class Rule(NamedTuple):
    """What one rule says: its figures, its limit, and a sentence for people."""

    rule: str
    passed: bool
    challenger: float
    champion: float | None
    difference: Interval | None
    """Challenger less champion on the same queries, with its 95 % interval, where it was taken query by query."""
    limit: str
    sentence: str
    doubtful: bool = False
    """Whether it lost more than it may, but of so few queries that it may be chance."""


def not_compared(why: str) -> Rule:
    """It is said, and does not hold: a release that waited for a champion whose files are gone would wait for ever."""
    name, limit = "Comparable with the champion", "the champion can be read"
    return Rule(
        name, True, NOT_MEASURED, None, None, limit, f"it was not compared with the champion. {why}", True
    )


def no_worse(compared: Comparison, name: str, most: float) -> Rule:
    """The figure of all queries, query by query."""
    own, other = (side.figures[name] for side in (compared.challenger, compared.champion))
    ours, theirs = (side.means()[name] for side in (compared.challenger, compared.champion))
    return _drop(
        f"{OVERALL[name]} no worse than the champion",
        name,
        ours,
        theirs,
        interval(own - other),
        most,
        "RECSIM_GATE_MAX_DROP",
        len(own),
    )


def by_category(compared: Comparison, most: float) -> Rule:
    """The worst of the categories that are asked for often enough; the more there are, the likelier is it that one looks bad by chance."""
    labels = compared.challenger.labels
    names, counts = np.unique(labels.astype(str), return_counts=True)
    large = names[counts >= FEWEST_OF_A_PART].tolist()
    if not large:
        return _too_few(CATEGORIES, "of any one category", int(counts.max(initial=0)))
    level = 1 - (1 - LEVEL) / len(large)
    return min(
        (
            _of_part(compared, CATEGORIES, f"in category {name}", labels == name, most, level)
            for name in large
        ),
        key=_badness,
    )


def not_trained_on(compared: Comparison, trained_on: frozenset[str], most: float) -> Rule:
    """Categories that came after the training; another model may have lost them."""
    where = "in categories that the model was not trained on"
    mine = np.array([label not in trained_on for label in compared.challenger.labels.tolist()], bool)
    if mine.sum() < FEWEST_OF_A_PART:
        return _too_few(UNTRAINED, where, int(mine.sum()))
    return _of_part(compared, UNTRAINED, where, mine, most, LEVEL)


def _of_part(compared: Comparison, rule: str, where: str, mine: BoolArray, most: float, level: float) -> Rule:
    own, other = (side.figures["precision_at_10"][mine] for side in (compared.challenger, compared.champion))
    found, name = interval(own - other, level), f"precision_at_10 {where}"
    return _drop(
        rule,
        name,
        float(own.mean()),
        float(other.mean()),
        found,
        most,
        "RECSIM_GATE_MAX_CATEGORY_DROP",
        int(mine.sum()),
    )


def added(evaluation: Evaluation, added: BoolArray, most: float) -> Rule:
    """Products that came with this refresh are found as well as others of their categories; the champion cannot be asked for them."""
    figures, labels = evaluation.answered.figures["precision_at_10"], evaluation.answered.labels
    new, old, mean = _within_categories(figures, labels, added)
    if min(len(new), len(old)) < FEWEST_OF_A_PART:
        return _too_few(
            NEW, "of products added now, and as many others of their categories", min(len(new), len(old))
        )
    found, name = (
        interval_between(new, old),
        "precision_at_10 of products added now, against others of their categories,",
    )
    rule = _drop(NEW, name, mean, mean - found.mean, found, most, "RECSIM_GATE_MAX_CATEGORY_DROP", len(new))
    return rule._replace(champion=None)


def _within_categories(
    values: Float64Array, labels: AnyArray, added: BoolArray
) -> tuple[Float64Array, Float64Array, float]:
    """Values of what was added and of the others, each less the mean of its category's others; and the mean of the added: of categories that have both."""
    new, old, raw = [np.empty(0)], [np.empty(0)], [np.empty(0)]
    for name in np.unique(labels.astype(str)):
        mine = labels == name
        came, there = values[mine & added], values[mine & ~added]
        if len(came) and len(there):
            new.append(came - there.mean())
            old.append(there - there.mean())
            raw.append(came)
    together = np.concatenate(raw)
    return np.concatenate(new), np.concatenate(old), float(together.mean()) if len(together) else NOT_MEASURED


def _too_few(rule: str, where: str, queries: int) -> Rule:
    sentence = f"{queries} queries {where} say nothing; {FEWEST_OF_A_PART} would."
    return Rule(rule, True, NOT_MEASURED, None, None, f"{FEWEST_OF_A_PART} queries", sentence)


def _drop(
    rule: str, name: str, own: float, other: float, found: Interval, most: float, setting: str, queries: int
) -> Rule:
    worse = not found.mean >= -most
    shown = not found.high >= 0
    tail = (
        ""
        if shown or not worse
        else " That is more than it may lose, but so few queries do not show that it lost anything."
    )
    sentence = (
        f"{name} is {own:.4f} against {other:.4f} of {queries:,} queries, a difference of {found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f}); "
        f"it may lose {most} ({setting}).{tail}"
    )
    return Rule(
        rule, not (worse and shown), own, other, found, f"at most {most} lower", sentence, worse and not shown
    )


def _badness(rule: Rule) -> tuple[bool, float]:
    assert rule.difference is not None
    return rule.passed, rule.difference.mean


def recall(evaluation: Evaluation, compared: Comparison | None, least: float) -> Rule:
    """What the index finds of what an exact search finds."""
    own = evaluation.metrics.get("ann_recall_at_10", NOT_MEASURED)
    other = compared.champion.means()["ann_recall_at_10"] if compared else None
    sentence = (
        f"the index finds {own:.4f} of the exact ten nearest; {least} is asked for (RECSIM_GATE_MIN_RECALL)."
    )
    return Rule(RECALL, own >= least, own, other, None, f"at least {least}", sentence)


def coverage(evaluation: Evaluation) -> Rule:
    """Products are found by their own pictures."""
    own = evaluation.metrics.get("coverage", NOT_MEASURED)
    sentence = f"{own:.2%} of the pictures that were tried, the newest first, find their own product; {LEAST_COVERAGE:.1%} are asked for."
    return Rule(COVERAGE, own >= LEAST_COVERAGE, own, None, None, f"at least {LEAST_COVERAGE}", sentence)


def like_a_rebuild(verified: Verification) -> Iterator[Rule]:
    """An index that was appended to holds and finds what one built anew would."""
    contents, neighbours = verified.sentences()
    wrong = verified.missing + verified.unexpected + verified.outdated + verified.differing
    yield Rule(SAME_CONTENTS, verified.same_contents, wrong, None, None, "none differs", contents)
    share = verified.overlap / verified.rebuilt_overlap if verified.rebuilt_overlap else NOT_MEASURED
    yield Rule(
        SAME_NEIGHBOURS,
        verified.recall_preserved,
        share,
        None,
        None,
        "at least 0.99 of a rebuild",
        neighbours,
    )


def better_than_guessing(evaluation: Evaluation) -> Rule:
    """The least that a release must do that is compared with none."""
    _, counts = np.unique(evaluation.answered.labels.astype(str), return_counts=True)
    guess = float(counts.max(initial=0) / max(counts.sum(), 1))
    own = evaluation.metrics.get("precision_at_1", NOT_MEASURED)
    sentence = f"precision_at_1 of this release, which is compared with none, is {own:.4f}; always naming the most frequent category gives {guess:.4f}."
    return Rule("Better than guessing", own > guess, own, None, None, f"more than {guess:.4f}", sentence)


def quick_enough(times: QueryTimes, most: float) -> Rule:
    """A query takes about as long as the champion's; in a release that is compared with none, as an exact search."""
    own, other, limit = times.own_ms, times.reference_ms, allowed_ms(times.reference_ms, most)
    sentence = (
        f"95 of 100 queries take at most {own:.2f} ms of processor time, by the {times.reference} {other:.2f} ms; {limit:.2f} ms are allowed "
        f"(RECSIM_GATE_MAX_SLOWDOWN, but never less than {QUICK_MS:g} ms)."
    )
    champion = other if times.reference == "champion" else None
    return Rule("Quick enough", times.within(most), own, champion, None, f"at most {limit:.2f} ms", sentence)


def neighbours_stay(compared: Comparison, most: float) -> Rule:
    """Another model is meant to find others; the same one finds others only where products came or went, which are not counted."""
    told = (
        f"of the products that both have, {compared.churn:.1%} of the places in the top tens have another one than the champion's, "
        f"{compared.lists_changed:.1%} of the lists changed"
    )
    if compared.same_model:
        sentence = f"{told}; the same model may have {most:.0%} (RECSIM_GATE_MAX_CHURN)."
        return Rule(
            "Neighbours stay", compared.churn <= most, compared.churn, None, None, f"at most {most}", sentence
        )
    return Rule(
        "Neighbours stay",
        True,
        compared.churn,
        None,
        None,
        "none: another model",
        f"{told}; another model may find others.",
    )


def comparable(accepted_by: str | None) -> Rule:
    """A champion that is there and cannot be compared with would else let everything through."""
    accepted = f" {accepted_by} has accepted the feed that made it so." if accepted_by else ""
    sentence = f"fewer than {FEWEST_QUERIES} products have the category that the champion knows.{accepted}"
    tail = (
        ""
        if accepted_by
        else " Look at the catalogue; a feed that is right although it changes nearly all can be accepted when a guard holds it."
    )
    limit = f"at least {FEWEST_QUERIES} in common"
    return Rule(
        "Comparable with the champion", bool(accepted_by), NOT_MEASURED, None, None, limit, sentence + tail
    )


def products_stay(withdrawn: float, most: float, accepted_by: str | None) -> Rule:
    """No mass withdrawal that nobody has accepted."""
    accepted = f", and {accepted_by} has accepted a feed that withdraws as much" if accepted_by else ""
    sentence = f"{withdrawn:.1%} of the champion's products are gone; {most:.0%} may be (RECSIM_GATE_MAX_WITHDRAWN){accepted}."
    return Rule(
        "Products stay",
        withdrawn <= most or bool(accepted_by),
        withdrawn,
        None,
        None,
        f"at most {most}",
        sentence,
    )
