"""The gate: may this release follow the champion? Pure: figures in, verdict and reasons out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.verification import Verification

RECALL, SAME_CONTENTS, SAME_NEIGHBOURS = "Recall of the index", "Same contents as a rebuild", "Same neighbours as a rebuild"
# What the index alone can be to blame for, so that building it anew mends it.
OF_THE_INDEX = frozenset({RECALL, SAME_CONTENTS, SAME_NEIGHBOURS})
COMPARED = ("precision_at_1", "precision_at_10")
NOT_MEASURED = float("nan")


class Finding(NamedTuple):
    """What one rule says."""

    rule: str
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The decision, and a sentence of every rule that made it: the broken ones of a hold, all of a pass."""

    verdict: Literal["pass", "hold"]
    reasons: list[str]
    mended_by_rebuild: bool = False
    """Whether the index is to blame for a hold, and not the model."""


def judge(
    settings: Settings,
    measured: Mapping[str, Any],
    compared: tuple[Mapping[str, float], Mapping[str, float]] | None,
    verified: Verification,
) -> Verdict:
    """Judge what `evaluate` measured, what `compare` measured of challenger and champion, and how the index differs from a rebuild.

    A figure that is missing or not a number breaks its rule.
    """
    metrics: Mapping[str, float] = measured["metrics"]
    findings = [_finds_what_exact_search_finds(metrics, settings.gate_min_recall), *_like_a_rebuild(verified)]
    if compared is None:
        findings.append(_better_than_guessing(metrics, measured["slices"]))
    else:
        findings.extend(_no_worse(*compared, settings.gate_max_drop))
    broken = [finding for finding in findings if not finding.passed]
    sentences = [f"{finding.rule}: {finding.sentence}" for finding in broken or findings]
    return Verdict("hold" if broken else "pass", sentences, any(finding.rule in OF_THE_INDEX for finding in broken))


def _no_worse(metrics: Mapping[str, float], champion: Mapping[str, float], max_drop: float) -> Iterator[Finding]:
    for name in COMPARED:
        own, other = metrics.get(name, NOT_MEASURED), champion.get(name, NOT_MEASURED)
        sentence = f"{name} is {own:.4f}, the champion's {other:.4f} on the same queries; it may lose {max_drop} (RECSIM_GATE_MAX_DROP)."
        yield Finding("No worse than the champion", own >= other - max_drop, sentence)


def _better_than_guessing(metrics: Mapping[str, float], slices: Mapping[str, Mapping[str, float]]) -> Finding:
    asked = [part["queries"] for part in slices.values()]
    guess = max(asked, default=0) / max(sum(asked), 1)
    own = metrics.get("precision_at_1", NOT_MEASURED)
    sentence = f"precision_at_1 of this release, which has none to be compared with, is {own:.4f}; always naming the most frequent category gives {guess:.4f}."
    return Finding("Better than guessing", bool(asked) and own > guess, sentence)


def _finds_what_exact_search_finds(metrics: Mapping[str, float], least: float) -> Finding:
    own = metrics.get("ann_recall_at_10", NOT_MEASURED)
    sentence = f"the index finds {own:.4f} of the exact ten nearest; {least} is asked for (RECSIM_GATE_MIN_RECALL)."
    return Finding(RECALL, own >= least, sentence)


def _like_a_rebuild(verified: Verification) -> Iterator[Finding]:
    contents, neighbours = verified.sentences()
    yield Finding(SAME_CONTENTS, verified.whole, contents)
    yield Finding(SAME_NEIGHBOURS, verified.finds_as_much, neighbours)
