"""The steps of a refresh that make its release.

Each reads the workspace, calls one package and returns its result.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recsim_tasks.contracts import (
    Cursor,
    EmbedResult,
    IndexCounts,
    IndexResult,
    IndexVerifyResult,
    PlanResult,
    TrainResult,
    TuneResult,
)
from recsim_tasks.foundation.errors import MissingError, RejectedError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.plan import Mode, check_pool, decide, report
from recsim_tasks.refresh.step_inputs import fetch_champion, own_index, take_model
from recsim_tasks.refresh.workspace import Workspace

if TYPE_CHECKING:
    from recsim_tasks.vectors.index import Index

log = logging.getLogger(__name__)


def plan(settings: Settings, workspace: Workspace, mode: Mode, pool_slots: int | None = None) -> PlanResult:
    """Decide what this refresh must do.

    `ConfigurationError` if a task needs more slots of Airflow's `gpu_pool` than the `pool_slots` that it has.
    """
    from recsim_tasks.refresh.estimate import estimate
    from recsim_tasks.refresh.plan_inputs import gather, with_copy
    from recsim_tasks.release.registry.client import Registry

    head = _checked_head(settings)
    registry = Registry(settings)
    production = registry.production()
    champion = production.release
    inputs = gather(settings, workspace, registry, production, head)
    decided = decide(inputs.facts, settings, mode)
    if decided.decision != "skip" and champion and not inputs.facts.champion_missing:
        inputs = with_copy(settings, workspace, registry, champion, inputs)
        decided = decide(inputs.facts, settings, mode)
    check_pool(decided.decision, settings, pool_slots)
    problem = [production.problem] if champion and production.problem else []
    training = _training(settings, head) if decided.decision == "retrain" else []
    result = PlanResult(
        refresh_id=workspace.refresh_id,
        decision=decided.decision,
        reasons=[*problem, *decided.reasons, *training],
        warm_start=decided.warm_start,
        cursor=champion.cursor if champion else None,
        head=head,
        changes=dict(inputs.facts.changes),
        champion=champion.version if champion else None,
        champion_unreadable=inputs.facts.champion_missing if champion else None,
        estimate=estimate(
            settings, decided.decision, inputs, champion.model_fingerprint if champion else None
        ),
    )
    for line in report(result):
        log.info("%s", line)
    return result


def _checked_head(settings: Settings) -> Cursor:
    """The head of the catalogue, which must be usable; `MissingError` without a catalogue."""
    from recsim_tasks.catalogue.delta.change_feed import short_retentions
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.catalogue.delta.table_health import check_catalogue

    newest = head(settings.products_uri)
    if newest is None:
        raise MissingError(
            f"There is no catalogue at {settings.products_uri} yet. "
            f"Deliver a feed to {settings.inbox_dir} and run `recsim ingest`."
        )
    check_catalogue(settings.products_uri, newest)
    for sentence in short_retentions(settings.products_uri, settings.retention_days):
        log.warning("%s", sentence)
    return newest


def _training(settings: Settings, head: Cursor) -> list[str]:
    """What a plan that trains adds to its reasons; `MissingError` if there are too few GPUs."""
    from recsim_tasks.foundation.gpus import check_gpus
    from recsim_tasks.learning.training.planning import describe_catalogue_share

    check_gpus(settings)
    share = describe_catalogue_share(settings, head)
    return [share] if share else []


def tune(settings: Settings, workspace: Workspace, trials: int) -> TuneResult:
    """Search the hyperparameters, starting with the champion's."""
    from recsim_tasks.learning.mlflow_errors import translated_errors
    from recsim_tasks.learning.tuning.tune import tune as search
    from recsim_tasks.release.manifest import Manifest

    champion = fetch_champion(settings, workspace)
    known = Manifest.read(champion).training.params if champion else None
    with translated_errors(settings.tracking_uri):
        return search(settings, workspace.head, workspace.folder / "trials.json", trials, known)


def train(settings: Settings, workspace: Workspace) -> TrainResult:
    """Train with the best hyperparameters found."""
    from recsim_tasks.learning.mlflow_errors import translated_errors
    from recsim_tasks.learning.training.train import train as fit

    champion = fetch_champion(settings, workspace) if workspace.plan.warm_start else None
    params = workspace.result(TuneResult).best_params
    start = champion / "model" if champion else None
    with translated_errors(settings.tracking_uri):
        return fit(settings, workspace.head, params, workspace.own_model, start)


def embed(settings: Settings, workspace: Workspace) -> EmbedResult:
    """Embed the images that the candidate's model has not embedded yet."""
    from recsim_tasks.vectors.embedding import embed_missing

    model = take_model(settings, workspace)
    return embed_missing(settings, workspace.head, model)


def build_index(settings: Settings, workspace: Workspace) -> IndexResult:
    """Build the index from the embeddings table."""
    from recsim_tasks.learning.embedder import EncoderDescription
    from recsim_tasks.vectors.build import build

    model = take_model(settings, workspace)
    with lease(settings.home, str(workspace.index)):
        index, counts = build(settings, workspace.head, EncoderDescription.read(model).fingerprint)
        return _saved(index, counts, workspace)


def append_index(settings: Settings, workspace: Workspace) -> IndexResult:
    """Add, replace and remove the changed products in a copy of the champion's index."""
    from recsim_tasks.vectors.build import append
    from recsim_tasks.vectors.index import Index

    champion = fetch_champion(settings, workspace)
    if champion is None:
        raise MissingError("There is no champion to append to. Run `recsim index build` instead.")
    with lease(settings.home, str(workspace.index)):
        index = Index.open(champion / "index", writable=True)
        return _saved(index, append(settings, index, workspace.head), workspace)


def compact_index(settings: Settings, workspace: Workspace) -> IndexResult:
    """Rebuild this refresh's index from its own vectors."""
    from recsim_tasks.vectors.build import compact

    with lease(settings.home, str(workspace.index)):
        index, counts = compact(settings, own_index(workspace))
        return _saved(index, counts, workspace)


def _saved(index: Index, counts: IndexCounts, workspace: Workspace) -> IndexResult:
    return IndexResult(**counts.model_dump(), index_fingerprint=index.save(workspace.index))


def verify_index(settings: Settings, workspace: Workspace) -> IndexVerifyResult:
    """Compare this refresh's index with a rebuild; `RejectedError` if they differ."""
    from recsim_tasks.vectors.consistency import verify

    verified = verify(settings, own_index(workspace), workspace.head)
    result = IndexVerifyResult(
        **verified.model_dump(),
        equal=verified.same_contents and verified.recall_preserved,
        reasons=list(verified.sentences()),
    )
    if not result.equal:
        reasons = " ".join(result.reasons)
        raise RejectedError(
            f"The index differs from a rebuild: {reasons} Run the refresh with mode rebuild.", result
        )
    return result
