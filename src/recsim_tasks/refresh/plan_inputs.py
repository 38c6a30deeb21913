"""Gather the inputs of a plan: the champion's manifest, the change range, the catalogue's categories."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.change_feed import ChangeFeedGapError
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError, MissingError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.history import (
    EvaluatedRefresh,
    evaluated_refreshes,
    last_compared_with,
    training_rejected,
)
from recsim_tasks.refresh.plan import Champion, Facts, model_kind
from recsim_tasks.refresh.step_inputs import champion_copy, champion_manifest
from recsim_tasks.refresh.workspace import Workspace
from recsim_tasks.release.evaluation.drift import Drift

if TYPE_CHECKING:
    import pyarrow as pa

    from recsim_tasks.release.manifest import Manifest
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.production import Production
    from recsim_tasks.release.registry.references import ReleaseRef

SECONDS_A_DAY = 86_400
UNREADABLE = (InputError, MissingError)


@dataclass(frozen=True)
class PlanInputs:
    """The facts, and the net change of each product."""

    facts: Facts
    changes: pa.Table


def gather(
    settings: Settings, workspace: Workspace, registry: Registry, production: Production, head: Cursor
) -> PlanInputs:
    """The champion and the catalogue at `head`; without a champion every product is an insert."""
    from recsim_tasks.catalogue.delta.net_changes import count_kinds
    from recsim_tasks.catalogue.delta.reader import read_products

    counted = read_products(settings.products_uri, head, ["category"])["category"].value_counts().to_pylist()
    champion, known, missing = production.release, None, production.problem
    if champion:
        known, missing = _known(settings, workspace, registry, champion)
    changes, gap = _changes(settings, champion, head) if champion and known else (None, None)
    if champion and gap:
        changes, missing = _compared(settings, workspace, registry, champion, head)
    if changes is None:
        known, changes, gap = None, _inserts(settings, head), None
    refreshes = evaluated_refreshes(settings)
    last = last_compared_with(refreshes, champion.version) if champion else None
    if known:
        known = replace(known, drift=_drift(known, refreshes, last))
    facts = Facts(
        champion=known,
        head=head,
        changes=count_kinds(changes),
        change_feed_gap=gap,
        categories={row["values"]: row["counts"] for row in counted if row["values"]},
        products=sum(row["counts"] for row in counted),
        rejected_append=last.rejected_append if last else None,
        champion_missing=missing,
    )
    return PlanInputs(facts, changes)


def with_copy(
    settings: Settings, workspace: Workspace, registry: Registry, champion: ReleaseRef, inputs: PlanInputs
) -> PlanInputs:
    """Fetch the champion's bundle for the steps.

    If it cannot be read, the facts are those without a champion.
    """
    from recsim_tasks.catalogue.delta.net_changes import count_kinds

    try:
        champion_copy(settings, workspace, registry, champion)
    except UNREADABLE as error:
        changes = _inserts(settings, inputs.facts.head)
        return PlanInputs(
            replace(
                inputs.facts,
                champion=None,
                champion_missing=unreadable(champion, error),
                changes=count_kinds(changes),
                change_feed_gap=None,
            ),
            changes,
        )
    return inputs


def unreadable(champion: ReleaseRef, error: Exception) -> str:
    """Why a refresh cannot use the champion."""
    return f"The files of release {champion.version}, the champion, cannot be read: {error}"


def _drift(
    champion: Champion, refreshes: list[EvaluatedRefresh], last: EvaluatedRefresh | None
) -> Drift | None:
    """The drift that calls for a training: of the champion, or of its last challenger.

    None if the gate rejected such a training of this encoder before: it is not repeated every night.
    """
    if training_rejected(refreshes, champion.trained_at, champion.model_fingerprint):
        return None
    return (last.drift if last else None) or champion.drift


def _known(
    settings: Settings, workspace: Workspace, registry: Registry, champion: ReleaseRef
) -> tuple[Champion | None, str | None]:
    """The champion as its manifest describes it; None, and why, if it cannot be read."""
    try:
        return _champion(champion_manifest(settings, workspace, registry, champion)), None
    except UNREADABLE as error:
        return None, unreadable(champion, error)


def _changes(settings: Settings, champion: ReleaseRef, head: Cursor) -> tuple[pa.Table | None, str | None]:
    """The changes by the change feed; None, and why, if it cannot be read."""
    from recsim_tasks.catalogue.delta.net_changes import net_changes

    try:
        return net_changes(settings.products_uri, champion.cursor, head), None
    except ChangeFeedGapError as error:
        return None, str(error)


def _compared(
    settings: Settings, workspace: Workspace, registry: Registry, champion: ReleaseRef, head: Cursor
) -> tuple[pa.Table | None, str | None]:
    """The changes by comparing the champion's index with the catalogue.

    None, and why, if it cannot be read.
    """
    from recsim_tasks.catalogue.delta.net_changes import compare
    from recsim_tasks.vectors.index import Index

    try:
        champion_copy(settings, workspace, registry, champion)
    except UNREADABLE as error:
        return None, unreadable(champion, error)
    index = Index.open(workspace.champion_of(champion.version) / "index")
    return compare(index.products, _products(settings, head)), None


def _inserts(settings: Settings, head: Cursor) -> pa.Table:
    """Every product of the catalogue as a change."""
    from recsim_tasks.catalogue.delta.net_changes import compare

    now = _products(settings, head)
    return compare(now.slice(0, 0), now)


def _products(settings: Settings, head: Cursor) -> pa.Table:
    from recsim_tasks.catalogue.delta.reader import read_products
    from recsim_tasks.catalogue.schema import INDEXED

    return read_products(settings.products_uri, head, list(INDEXED))


def _champion(manifest: Manifest) -> Champion:
    return Champion(
        cursor=manifest.cursor,
        built=manifest.counts["built"],
        churn=manifest.counts["churn"],
        recall=manifest.metrics.ann_recall_at_10,
        imbalance=manifest.metrics.imbalance_growth,
        model_days=(time.time() - manifest.training.at) / SECONDS_A_DAY,
        trained_at=manifest.training.at,
        model_fingerprint=manifest.model_fingerprint,
        unseen=manifest.training.unseen,
        categories=frozenset(manifest.training.categories),
        drift=Drift.of_metrics(manifest.metrics),
        kind=model_kind(
            manifest.training.backbone,
            manifest.preprocessing.size,
            manifest.preprocessing.channels,
            manifest.embedding_size,
        ),
    )
