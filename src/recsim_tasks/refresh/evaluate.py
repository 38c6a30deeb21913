"""The end of a refresh: measure what it made, let the gate decide, and register it with the verdict."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recsim_tasks.foundation.errors import HeldError, MissingError
from recsim_tasks.foundation.publishing import write_text
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.images import canary_images, coverage, verdict_page
from recsim_tasks.refresh.plan import NEW_IMAGES
from recsim_tasks.refresh.step_inputs import fetch_champion, own_index, take_model
from recsim_tasks.refresh.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from recsim_tasks.release.evaluation.evaluate import Evaluation
    from recsim_tasks.release.manifest import Training
    from recsim_tasks.vectors.consistency import Verification
    from recsim_tasks.vectors.index import Index

log = logging.getLogger(__name__)

# Whoever accepted what these hold has seen that much of the catalogue goes, or becomes something else.
EXCUSED_BY = {"max_withdrawn_share", "max_withdrawn_category_share", "max_category_shift"}
PAGE = "verdict.html"


def evaluate(settings: Settings, workspace: Workspace) -> dict[str, Any]:
    """Measure retrieval on this refresh's index, and let the gate decide; `HeldError` when it holds the release, which is in the registry then."""
    from recsim_tasks.release.evaluation.evaluate import compare, withdrawn
    from recsim_tasks.release.evaluation.evaluate import evaluate as measure
    from recsim_tasks.release.gate.gate import Verdict, judge
    from recsim_tasks.release.gate.rules import not_compared
    from recsim_tasks.vectors.index import Index

    index, champion = own_index(workspace), fetch_champion(settings, workspace)
    take_model(settings, workspace)
    held = Index.open(champion / "index") if champion else None
    evaluation = measure(index, settings, _trained(settings, workspace), held)
    evaluation.metrics.update(_drift(index, held, champion))
    evaluation.metrics["coverage"] = coverage(settings, workspace, index)
    compared, gone = (compare(index, held, settings), withdrawn(index, held)) if held else (None, None)
    verified, trained_on = (
        _verified(settings, workspace, index, evaluation),
        frozenset(_training(workspace).categories),
    )
    verdict = judge(
        settings, evaluation, compared, verified, trained_on, gone, _accepted(settings, workspace)
    )
    if unreadable := workspace.result("plan").get("champion_unreadable"):
        verdict = Verdict([*verdict.rules, not_compared(unreadable)])
    for doubt in verdict.doubts:
        log.info(doubt)
    write_text(
        workspace.folder / PAGE, verdict_page(settings, workspace, index, held, evaluation, compared, verdict)
    )
    result = {
        **verdict.as_result(),
        **evaluation.as_result(),
        "rebuild": asdict(verified),
        "champion": workspace.result("plan")["champion"],
    }
    if verdict.verdict == "hold":
        workspace.keep("evaluate", result)
        raise HeldError(" ".join(verdict.reasons), {**result, **_register(settings, workspace, result)})
    return result


def register(settings: Settings, workspace: Workspace, asks: bool = False) -> dict[str, Any]:
    """Bundle model and index and register them as one release, once a refresh; when it `asks`, it is not promoted without an approval."""
    evaluation = workspace.result("evaluate")
    if evaluation["verdict"] != "pass":
        raise HeldError("The gate holds this release back: " + " ".join(evaluation["reasons"]))
    return {
        **_register(settings, workspace, evaluation, asks),
        "previous": evaluation["champion"],
        "stage": "Staging",
    }


def _register(
    settings: Settings, workspace: Workspace, evaluation: Mapping[str, Any], asks: bool = False
) -> dict[str, Any]:
    """The `version`, and the place of its verdict in MLflow's UI."""
    from recsim_tasks.catalogue.delta.reader import committed_at
    from recsim_tasks.release.bundle import assemble
    from recsim_tasks.release.registry import registration
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.references import Origin

    model = take_model(settings, workspace)
    own_index(workspace)
    canaries, training = canary_images(settings, workspace), _training(workspace)
    at = committed_at(settings.products_uri, workspace.head.version)
    manifest = assemble(
        model, workspace.index, canaries, evaluation["metrics"], training, at, workspace.release
    )
    origin = Origin(
        workspace.refresh_id,
        evaluation["champion"],
        tuple(commit.feed_id for commit in _feeds(settings, workspace)),
        asks,
    )
    page = (workspace.folder / PAGE).read_text()
    registry = Registry(settings)
    version = registration.register(registry, workspace.release, manifest, origin, evaluation, page)
    return {"version": version, "mlflow_page": registry.page(version)}


def _drift(index: Index, champion_index: Index | None, champion: Path | None) -> dict[str, float]:
    """The metrics of the drift since the encoder was trained; none when there is no champion, or the encoder is new."""
    from recsim_tasks.release.evaluation.drift import Drift, accumulate
    from recsim_tasks.release.evaluation.drift_estimate import estimate_drift
    from recsim_tasks.release.manifest import Manifest

    if champion is None or champion_index is None:
        return {}
    if index.metadata["model_fingerprint"] != champion_index.metadata["model_fingerprint"]:
        return {}
    drift = accumulate(
        Drift.of_metrics(Manifest.read(champion).metrics), estimate_drift(index, champion_index)
    )
    return drift.as_metrics() if drift else {}


def _verified(settings: Settings, workspace: Workspace, index: Index, evaluation: Evaluation) -> Verification:
    from recsim_tasks.vectors.consistency import evenly_spaced, overlap, verification

    finds = overlap(index, settings.evaluation_queries)
    # An index that was not changed since it was built is the rebuild: what it found of another sample then is no other index's share.
    rebuilt = evaluation.metrics["built_recall"] if index.metadata["churn"] else finds
    return verification(
        settings,
        index,
        workspace.head,
        evenly_spaced(len(index), settings.evaluation_queries),
        finds,
        rebuilt,
    )


def _feeds(settings: Settings, workspace: Workspace) -> list[Any]:
    """The feeds that this refresh takes in and the champion had not."""
    from recsim_tasks.catalogue.delta.feed_commits import feeds_between
    from recsim_tasks.contracts import Cursor

    cursor = workspace.result("plan")["cursor"]
    return feeds_between(settings.products_uri, Cursor.from_json(cursor) if cursor else None, workspace.head)


def _accepted(settings: Settings, workspace: Workspace) -> str | None:
    """Who accepted a feed of this refresh although a guard held it for what it would withdraw or move."""
    return next(
        (
            commit.accepted_by
            for commit in _feeds(settings, workspace)
            if commit.accepted_by and commit.guards & EXCUSED_BY
        ),
        None,
    )


def _trained(settings: Settings, workspace: Workspace) -> set[str] | None:
    """Hashes of the pictures that the catalogue had when this release's model was trained; None when that version is gone."""
    from recsim_tasks.catalogue.delta.reader import read_products
    from recsim_tasks.learning.embedder import EncoderDescription

    trained_on = EncoderDescription.read(workspace.model).catalogue
    try:
        return (
            set(read_products(settings.products_uri, trained_on, ["image_hash"])["image_hash"].to_pylist())
            if trained_on
            else None
        )
    except MissingError as error:
        log.info(f"Which products came after the training is not told: {error}")
        return None


def _training(workspace: Workspace) -> Training:
    """The training of this refresh; else the champion's, with what this refresh takes in added to what its model has not seen."""
    from recsim_tasks.learning.embedder import TrainedEncoderDescription
    from recsim_tasks.release.manifest import Manifest, Training

    planned = workspace.result("plan")
    if planned["decision"] == "retrain":
        encoder = TrainedEncoderDescription.read(workspace.own_model)
        return Training(
            at=encoder.trained_at,
            categories=encoder.categories,
            unseen=0,
            backbone=encoder.backbone,
            params=encoder.params,
        )
    carried = Manifest.read(workspace.champion).training
    return carried.model_copy(
        update={"unseen": carried.unseen + sum(planned["changes"][kind] for kind in NEW_IMAGES)}
    )
