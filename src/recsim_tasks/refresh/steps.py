"""The steps of a refresh: each finds what it needs in the workspace, calls one room, and returns its result."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

from recsim_tasks.foundation.errors import HeldError, MissingError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.plan import Mode, check_pool, decide, lines
from recsim_tasks.refresh.step_inputs import fetch_champion, own_index, take_model
from recsim_tasks.refresh.workspace import Workspace

if TYPE_CHECKING:
    from recsim_tasks.contracts import Cursor, TrainResult, TuneResult
    from recsim_tasks.release.registry.approval import Through

log = logging.getLogger(__name__)


def plan(
    settings: Settings, workspace: Workspace, mode: Mode, pool_slots: int | None = None
) -> dict[str, Any]:
    """Decide what this refresh must do; refuse what needs more slots of `gpu_pool` than it has, if those are known."""
    from recsim_tasks.catalogue.delta.change_feed import short_retentions
    from recsim_tasks.catalogue.delta.health import check_catalogue
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.refresh.estimate import estimate
    from recsim_tasks.refresh.plan_inputs import gather, with_copy
    from recsim_tasks.release.registry.client import Registry

    now = head(settings.products_uri)
    if now is None:
        raise MissingError(
            f"There is no catalogue at {settings.products_uri} yet. Deliver a feed to {settings.inbox_dir} and run `recsim ingest`."
        )
    check_catalogue(settings.products_uri, now)
    for sentence in short_retentions(settings.products_uri, settings.retention_days):
        log.info(sentence)
    registry = Registry(settings)
    production = registry.production()
    champion = production.release
    found = gather(settings, workspace, registry, production, now)
    made = decide(found.facts, settings, mode)
    if made.decision != "skip" and champion and not found.facts.missing:
        found = with_copy(settings, workspace, registry, champion, found)
        made = decide(found.facts, settings, mode)
    reasons = [production.problem, *made.reasons] if champion and production.problem else made.reasons
    check_pool(made.decision, settings, pool_slots)
    planned = {
        "refresh_id": workspace.refresh_id,
        "decision": made.decision,
        "reasons": [*reasons, *(_training(settings, now) if made.decision == "retrain" else ())],
        "warm_start": made.warm_start,
        "cursor": champion.cursor.as_json() if champion else None,
        "head": now.as_json(),
        "changes": dict(found.facts.changes),
        "champion": champion.version if champion else None,
        "champion_unreadable": found.facts.missing if champion else None,
        "estimate": estimate(
            settings, made.decision, found, champion.model_fingerprint if champion else None, now
        ),
    }
    for line in lines(planned):
        log.info(line)
    return planned


def _training(settings: Settings, head: Cursor) -> list[str]:
    """Reasons that only the plan of a training has; `MissingError` when there are too few GPUs for it."""
    from recsim_tasks.foundation.gpus import check_gpus
    from recsim_tasks.learning.training.planning import describe_catalogue_share

    check_gpus(settings)
    share = describe_catalogue_share(settings, head)
    return [share] if share else []


def tune(settings: Settings, workspace: Workspace, trials: int) -> TuneResult:
    """Search the hyperparameters, starting from the champion's own."""
    from recsim_tasks.learning.mlflow_errors import translated_errors
    from recsim_tasks.learning.tuning.tune import tune as search
    from recsim_tasks.release.manifest import Manifest

    champion = fetch_champion(settings, workspace)
    own = Manifest.read(champion).training.params if champion else None
    with translated_errors(settings.tracking_uri):
        return search(settings, workspace.head, workspace.folder / "trials.json", trials, own)


def train(settings: Settings, workspace: Workspace) -> TrainResult:
    """Train with the best hyperparameters that `tune` found."""
    from recsim_tasks.learning.mlflow_errors import translated_errors
    from recsim_tasks.learning.training.train import train as fit

    champion = fetch_champion(settings, workspace) if workspace.result("plan")["warm_start"] else None
    params = workspace.result("tune")["best_params"]
    with translated_errors(settings.tracking_uri):
        return fit(
            settings, workspace.head, params, workspace.own_model, champion / "model" if champion else None
        )


def embed(settings: Settings, workspace: Workspace) -> dict[str, Any]:
    """Embed the images that this release's model has not embedded yet."""
    from recsim_tasks.vectors.embedding import embed_missing

    return dict(embed_missing(settings, workspace.head, take_model(settings, workspace)))


def build_index(settings: Settings, workspace: Workspace) -> dict[str, Any]:
    """Build the index from the embeddings table."""
    from recsim_tasks.learning.embedder import EncoderDescription
    from recsim_tasks.vectors.build import build

    model = take_model(settings, workspace)
    with lease(settings.home, str(workspace.index)):
        index, counts = build(settings, workspace.head, EncoderDescription.read(model).fingerprint)
        return {**dict(counts), "index_fingerprint": index.save(workspace.index)}


def append_index(settings: Settings, workspace: Workspace) -> dict[str, Any]:
    """Bring a copy of the champion's index up to date."""
    from recsim_tasks.vectors.build import append
    from recsim_tasks.vectors.index import Index

    fetch_champion(settings, workspace)
    with lease(settings.home, str(workspace.index)):
        index = Index.open(workspace.champion / "index", writable=True)
        counts = append(settings, index, workspace.head)
        return {**dict(counts), "index_fingerprint": index.save(workspace.index)}


def compact_index(settings: Settings, workspace: Workspace) -> dict[str, Any]:
    """Rebuild this refresh's index from its own vectors."""
    from recsim_tasks.vectors.build import compact

    with lease(settings.home, str(workspace.index)):
        index, counts = compact(settings, own_index(workspace))
        return {**dict(counts), "index_fingerprint": index.save(workspace.index)}


def verify_index(settings: Settings, workspace: Workspace) -> dict[str, Any]:
    """Hold this refresh's index against one built anew; `HeldError` when they can be told apart."""
    from recsim_tasks.vectors.consistency import verify as hold_against_rebuild

    verified = hold_against_rebuild(settings, own_index(workspace), workspace.head)
    result = {
        **asdict(verified),
        "equal": verified.same_contents and verified.recall_preserved,
        "reasons": list(verified.sentences()),
    }
    if not result["equal"]:
        raise HeldError(
            "The index is not what a rebuild gives: "
            + " ".join(result["reasons"])
            + " Run the refresh with mode rebuild.",
            result,
        )
    return result


def promote(
    settings: Settings, version: int, by: str, through: Through = "cli", answered_at: float | None = None
) -> dict[str, Any]:
    """Put a release into Production; `answered_at` is when `by` approved it, if a person was asked."""
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.promotion import Promotions

    return Promotions(Registry(settings)).promote(version, by, through, answered_at)


def reject(
    settings: Settings, version: int, by: str, through: Through, answered_at: float | None, reason: str
) -> NoReturn:
    """Write down that `by` has rejected a release; always ends with a `HeldError`."""
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.promotion import Promotions

    at = time.time() if answered_at is None else answered_at
    raise Promotions(Registry(settings)).reject(version, by, through, at, reason)


def rollback(
    settings: Settings, to: int | None, reason: str, by: str, through: Through, resume: bool
) -> dict[str, Any]:
    """Put an earlier release back into Production and hold promotions, or `resume` them."""
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.promotion import Promotions

    promotions = Promotions(Registry(settings))
    return promotions.resume(by, through) if resume else promotions.rollback(to, reason, by, through)


def verify(settings: Settings, version: int) -> dict[str, Any]:
    """Ask the serving side until it answers from `version`; say so when none is known."""
    from recsim_tasks.refresh.serving_probe import wait_until_live

    if settings.serving_url is None:
        return {
            "version": version,
            "live": None,
            "reasons": [
                "No serving side is set (RECSIM_SERVING_URL); the registry has the release in Production."
            ],
        }
    seconds = wait_until_live(settings, version)
    return {
        "version": version,
        "live": True,
        "seconds": seconds,
        "reasons": [f"{settings.serving_url} answers from release {version} after {seconds:.1f} s."],
    }
