"""Gather what the plan decides by: the champion's manifest, the change range, the catalogue's categories."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.change_range import RangeLostError
from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.plan import Champion, Facts, model_kind
from recsim_tasks.refresh.workspace import Workspace, last_written, read_result
from recsim_tasks.release.drift import Drift

if TYPE_CHECKING:
    import pyarrow as pa

    from recsim_tasks.release.manifest import Manifest
    from recsim_tasks.release.references import ReleaseRef
    from recsim_tasks.release.registry import Registry

SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Found:
    """The facts, and the changes product by product, as `net_changes` gives them."""

    facts: Facts
    changes: pa.Table


def gather(settings: Settings, workspace: Workspace, registry: Registry, champion: ReleaseRef | None, head: Cursor) -> Found:
    """What is known of the champion and of the catalogue at `head`; without a champion every product is an insert."""
    from recsim_tasks.catalogue.changes import count_kinds
    from recsim_tasks.catalogue.table import read_products

    counted = read_products(settings.products_uri, head, ["category"])["category"].value_counts().to_pylist()
    products, categories = sum(row["counts"] for row in counted), {row["values"]: row["counts"] for row in counted if row["values"]}
    changes, lost = _changes(settings, workspace, registry, champion, head)
    known = _champion(registry.manifest(champion.version)) if champion else None
    held = held_append(settings, champion.version) if champion else None
    return Found(Facts(known, head, count_kinds(changes), lost, categories, products, held), changes)


def held_append(settings: Settings, champion: int) -> str | None:
    """Why the gate held the last of the refreshes that appended to the index of `champion`, when a rebuild mends that; None when it did not."""
    tried = []
    for folder in settings.home.absolute().glob("refreshes/*"):
        planned, evaluated = read_result(folder / "plan.json"), read_result(folder / "evaluate.json")
        if planned.get("champion") == champion and planned.get("decision") in ("append", "rebuild") and evaluated:
            tried.append((last_written(folder / "evaluate.json"), planned, evaluated))
    if not tried:
        return None
    _, planned, evaluated = max(tried, key=lambda found: found[0])
    if planned["decision"] != "append" or not evaluated.get("mended_by_rebuild"):
        return None
    return f"The gate holds what refresh {planned.get('refresh_id')} appended to the champion's index: {' '.join(map(str, evaluated.get('reasons', [])))}"


def _changes(
    settings: Settings, workspace: Workspace, registry: Registry, champion: ReleaseRef | None, head: Cursor
) -> tuple[pa.Table, str | None]:
    """From the change feed; where that is lost, and it is said why, from the champion's index and the whole catalogue."""
    from recsim_tasks.catalogue.changes import compare, net_changes
    from recsim_tasks.catalogue.table import PRODUCT_FIELDS, read_products
    from recsim_tasks.vectors.index import Index

    lost, held = None, None
    if champion is not None:
        try:
            return net_changes(settings.products_uri, champion.cursor, head), None
        except RangeLostError as error:
            lost = str(error)
        folder = workspace.champion_of(champion.version)
        if not folder.exists():
            registry.download(champion.version, folder)
        held = Index.open(folder / "index").items
    now = read_products(settings.products_uri, head, list(PRODUCT_FIELDS))
    return compare(now.slice(0, 0) if held is None else held, now), lost


def _champion(manifest: Manifest) -> Champion:
    return Champion(
        cursor=manifest.cursor,
        built=manifest.counts["built"],
        churn=manifest.counts["churn"],
        recall=manifest.metrics["ann_recall_at_10"],
        imbalance=manifest.metrics.get("imbalance_growth", 1.0),
        model_days=(time.time() - manifest.training.at) / SECONDS_A_DAY,
        unseen=manifest.training.unseen,
        categories=frozenset(manifest.training.categories),
        drift=Drift.of_metrics(manifest.metrics),
        kind=model_kind(manifest.training.backbone, manifest.preprocessing.size, manifest.preprocessing.channels, manifest.embedding_size),
    )
