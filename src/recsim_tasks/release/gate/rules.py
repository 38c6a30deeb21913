"""The rules that judge a release by itself: its index, its coverage, its speed, its products. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.contracts import RuleResult
from recsim_tasks.release.evaluation.speed import QUICK_MS, allowed_ms
from recsim_tasks.release.gate.metric_losses import measured
from recsim_tasks.vectors.consistency import MIN_RELATIVE_RECALL

if TYPE_CHECKING:
    from recsim_tasks.release.evaluation.measure import Comparison, Evaluation
    from recsim_tasks.release.evaluation.speed import QueryTimes
    from recsim_tasks.vectors.consistency import Verification

INDEX_RECALL = "Index recall"
SAME_CONTENTS = "Same contents as a rebuild"
SAME_RECALL = "Same recall as a rebuild"
COVERAGE = "Every product is found"
# Rules about the index alone: a rebuild can help when one is broken.
INDEX_RULES = frozenset({INDEX_RECALL, SAME_CONTENTS, SAME_RECALL, COVERAGE})
MIN_COVERAGE = 0.999


def index_recall(evaluation: Evaluation, compared: Comparison | None, min_recall: float) -> RuleResult:
    """Check the share of the exact nearest neighbours that the index finds."""
    own = evaluation.metrics.ann_recall_at_10
    return RuleResult(
        rule=INDEX_RECALL,
        passed=own >= min_recall,
        challenger=measured(own),
        champion=compared.champion.means()["ann_recall_at_10"] if compared else None,
        limit=f"at least {min_recall}",
        sentence=(
            f"The index finds {own:.4f} of the exact ten nearest neighbours; "
            f"at least {min_recall} is required (RECSIM_GATE_MIN_RECALL)."
        ),
    )


def like_a_rebuild(verified: Verification) -> Iterator[RuleResult]:
    """Check that an index that was appended to has the contents and the recall of a rebuild."""
    contents, recall = verified.sentences()
    yield RuleResult(
        rule=SAME_CONTENTS,
        passed=verified.same_contents,
        challenger=verified.missing + verified.unexpected + verified.outdated + verified.differing,
        limit="no difference",
        sentence=contents,
    )
    share = verified.overlap / verified.rebuilt_overlap if verified.rebuilt_overlap else None
    yield RuleResult(
        rule=SAME_RECALL,
        passed=verified.recall_preserved,
        challenger=measured(share),
        limit=f"at least {MIN_RELATIVE_RECALL} of a rebuild",
        sentence=recall,
    )


def coverage(evaluation: Evaluation) -> RuleResult:
    """Check that products are found by their own images."""
    own = evaluation.metrics.coverage
    share = (
        "no image could be tried" if own is None else f"{own:.2%} of the tried images find their own product"
    )
    return RuleResult(
        rule=COVERAGE,
        passed=own is not None and own >= MIN_COVERAGE,
        challenger=own,
        limit=f"at least {MIN_COVERAGE}",
        sentence=f"{share}; at least {MIN_COVERAGE:.1%} is required.",
    )


def better_than_guessing(evaluation: Evaluation) -> RuleResult:
    """Check the least that a release must do that is not compared with a champion."""
    _, counts = np.unique(evaluation.results.labels.astype(str), return_counts=True)
    guess = float(counts.max(initial=0) / max(counts.sum(), 1))
    own = evaluation.metrics.precision_at_1
    return RuleResult(
        rule="Better than guessing",
        passed=own > guess,
        challenger=measured(own),
        limit=f"more than {guess:.4f}",
        sentence=(
            f"precision_at_1 is {own:.4f}; always guessing the most frequent category gives {guess:.4f}. "
            "There is no champion to compare with."
        ),
    )


def query_time(times: QueryTimes, max_slowdown: float) -> RuleResult:
    """Compare the time of a query with the champion's, or with an exact search when there is no champion."""
    limit = allowed_ms(times.reference_ms, max_slowdown)
    return RuleResult(
        rule="Query time",
        passed=times.within(max_slowdown),
        challenger=measured(times.own_ms),
        champion=measured(times.reference_ms) if times.reference == "champion" else None,
        limit=f"at most {limit:.2f} ms",
        sentence=(
            f"95% of the queries take at most {times.own_ms:.2f} ms of processor time, "
            f"the {times.reference} {times.reference_ms:.2f} ms; the limit is {limit:.2f} ms "
            f"(RECSIM_GATE_MAX_SLOWDOWN, at least {QUICK_MS:g} ms)."
        ),
    )


def products_kept(withdrawn: float, max_withdrawn: float, accepted_by: str | None) -> RuleResult:
    """Reject a mass withdrawal that no person has accepted."""
    accepted = f"; {accepted_by} accepted a feed that withdraws this many" if accepted_by else ""
    return RuleResult(
        rule="Products are kept",
        passed=withdrawn <= max_withdrawn or bool(accepted_by),
        challenger=withdrawn,
        limit=f"at most {max_withdrawn} withdrawn",
        sentence=(
            f"{withdrawn:.1%} of the champion's products are withdrawn; "
            f"the limit is {max_withdrawn:.0%} (RECSIM_GATE_MAX_WITHDRAWN){accepted}."
        ),
    )
