"""The job `evaluate`: measure the candidate, apply the gate's rules, and write the page.

It rejects nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from recsim_tasks.contracts import EvaluateResult
from recsim_tasks.foundation.publishing import write_text
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.candidate import Candidate
from recsim_tasks.refresh.catalogue_images import coverage, page_images
from recsim_tasks.refresh.workspace import Workspace

if TYPE_CHECKING:
    from recsim_tasks.release.evaluation.drift import Drift
    from recsim_tasks.release.evaluation.measure import Evaluation
    from recsim_tasks.release.gate.judge import Evidence, Judgement
    from recsim_tasks.release.gate.verdict_page import Product
    from recsim_tasks.vectors.consistency import Verification
    from recsim_tasks.vectors.index import Index

log = logging.getLogger(__name__)

PAGE = "verdict.html"


def evaluate(settings: Settings, workspace: Workspace) -> EvaluateResult:
    """Measure the candidate by itself and beside the champion; the verdict takes effect in `gate`."""
    from recsim_tasks.release.gate.judge import judge

    plan, candidate = workspace.plan, Candidate.open(settings, workspace)
    evidence = _evidence(settings, candidate, plan.champion_unreadable)
    judgement = judge(settings, evidence)
    for doubt in judgement.doubts:
        log.warning("%s", doubt)
    write_text(workspace.folder / PAGE, _page(settings, workspace, candidate, evidence, judgement))
    evaluation = evidence.evaluation
    return EvaluateResult(
        verdict=judgement.verdict,
        reasons=judgement.reasons,
        doubts=judgement.doubts,
        mended_by_rebuild=judgement.mended_by_rebuild,
        rules=judgement.rules,
        metrics=evaluation.metrics,
        slices=evaluation.slices,
        since_training=evaluation.since_training,
        since_champion=evaluation.since_champion,
        rebuild=evidence.rebuild,
        champion=plan.champion,
        decision=plan.decision,
        index_fingerprint=candidate.index.metadata.index_fingerprint,
    )


def _evidence(settings: Settings, candidate: Candidate, champion_unreadable: str | None) -> Evidence:
    from recsim_tasks.release.evaluation.measure import compare, measure, withdrawn_share
    from recsim_tasks.release.gate.judge import Evidence

    index, champion_index = candidate.index, candidate.champion_index
    evaluation = measure(index, settings, candidate.trained_images(settings), champion_index)
    evaluation = evaluation.completed(coverage(settings, candidate), _drift(candidate))
    return Evidence(
        evaluation=evaluation,
        rebuild=_rebuild(settings, candidate, evaluation),
        trained_on=frozenset(candidate.training.categories),
        comparison=None if champion_index is None else compare(index, champion_index, settings),
        withdrawn=None if champion_index is None else withdrawn_share(index, champion_index),
        accepted_by=candidate.accepted_by,
        champion_unreadable=champion_unreadable,
    )


def _drift(candidate: Candidate) -> Drift | None:
    """The drift since the encoder was trained; None if there is no champion, or the encoder is new."""
    from recsim_tasks.release.evaluation.drift import Drift, accumulate
    from recsim_tasks.release.evaluation.drift_estimate import estimate_drift

    champion, index = candidate.champion, candidate.champion_index
    if champion is None or index is None:
        return None
    if candidate.index.metadata.model_fingerprint != index.metadata.model_fingerprint:
        return None
    return accumulate(Drift.of_metrics(champion.metrics), estimate_drift(candidate.index, index))


def _rebuild(settings: Settings, candidate: Candidate, evaluation: Evaluation) -> Verification:
    from recsim_tasks.vectors.consistency import Recalls, evenly_spaced, overlap, verification

    index, queries = candidate.index, settings.evaluation_queries
    own_overlap = overlap(index, queries)
    # An index that has not changed since it was built is the rebuild: its recall on another sample is not
    # comparable.
    rebuilt = evaluation.metrics.built_recall if index.metadata.churn else own_overlap
    rows = evenly_spaced(len(index), queries)
    return verification(settings, index, candidate.head, rows, Recalls(own_overlap, rebuilt))


def _page(
    settings: Settings, workspace: Workspace, candidate: Candidate, evidence: Evidence, judgement: Judgement
) -> str:
    """The verdict, with what champion and challenger find."""
    from recsim_tasks.release.gate.verdict_page import Side, page

    title = f"Release of refresh {workspace.refresh_id}"
    images = partial(page_images, settings, candidate.head)
    challenger, compared = _products(candidate.index), evidence.comparison
    if compared is None or candidate.champion_index is None:
        return page(title, judgement, Side(evidence.evaluation.results, challenger), None, images)
    champion = Side(compared.champion, _products(candidate.champion_index))
    return page(title, judgement, Side(compared.challenger, challenger), champion, images)


def _products(index: Index) -> Callable[[str], Product]:
    from recsim_tasks.release.gate.verdict_page import Product

    def product(product_id: str) -> Product:
        fields = index.product(product_id)
        return Product(product_id, str(fields["category"] or ""), str(fields["image_hash"]))

    return product
