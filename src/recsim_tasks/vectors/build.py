"""Bring an index to a cursor: whole from the embeddings table, or from the change range alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.arrays import Float32Array
from recsim_tasks.catalogue.delta.net_changes import net_changes
from recsim_tasks.catalogue.delta.reader import PRODUCT_FIELDS, read_products
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.embeddings import read_embeddings
from recsim_tasks.vectors.index import Index, IndexOrigin
from recsim_tasks.vectors.product_table import with_thumbnails

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


def build(settings: Settings, cursor: Cursor, model_fingerprint: str) -> tuple[Index, dict[str, int]]:
    """A new index of all products at `cursor`; also `size`, `added`, `replaced`, `removed`.

    Products whose picture the model gives no unit vector are not in it.
    """
    products, vectors, _ = _with_vectors(
        settings, model_fingerprint, read_products(settings.products_uri, cursor, list(PRODUCT_FIELDS))
    )
    origin = IndexOrigin(model_fingerprint, cursor)
    index = Index.build(products, vectors, origin, settings.index_exact_below, settings.index_recall)
    return index, _counts(index, added=len(index), replaced=0, removed=0)


def append(settings: Settings, index: Index, to: Cursor) -> dict[str, int]:
    """Take what changed since the index's own cursor into `index`, which then stands at `to`; counts as in `build`.

    Its cost follows the changes: only their embeddings are looked up, only they are added, replaced or removed.
    """
    changes = net_changes(settings.products_uri, index.metadata.cursor, to)
    pictured = _of_kind(changes, "insert", "replace")
    good, vectors, faulted = _with_vectors(settings, index.metadata.model_fingerprint, pictured)
    removed = index.remove([*_ids(_of_kind(changes, "delete")), *_ids(faulted)])
    before = len(index)
    if len(good):
        index.upsert(good, vectors)
    index.update(_of_kind(changes, "update"))
    index.advance(to)
    added = len(index) - before
    return _counts(index, added=added, replaced=len(good) - added, removed=removed)


def compact(settings: Settings, index: Index) -> tuple[Index, dict[str, int]]:
    """A new index of the same products and vectors, without what removals left behind and with lists trained anew."""
    _, vectors = index.all_vectors()
    compacted = Index.build(
        index.items, vectors, index.metadata, settings.index_exact_below, settings.index_recall
    )
    return compacted, _counts(compacted, added=0, replaced=0, removed=0)


def _with_vectors(
    settings: Settings, model_fingerprint: str, products: pa.Table
) -> tuple[pa.Table, Float32Array, pa.Table]:
    """The products whose image has a vector, with thumbnails; these vectors; and the products whose image has none."""
    if not len(products):
        return products, np.empty((0, 0), np.float32), products
    embedded = read_embeddings(settings.embeddings_uri, model_fingerprint, products["image_hash"])
    products, good = with_thumbnails(products, embedded.thumbnails), embedded.good
    if good.all():
        return products, embedded.vectors, products.slice(0, 0)
    log.info(
        f"{int((~good).sum()):,} of {len(good):,} products are left out: their image has no vector. `recsim quarantine` lists them."
    )
    return products.filter(good), embedded.vectors[good], products.filter(~good)


def _ids(products: pa.Table) -> list[str]:
    ids: list[str] = products["product_id"].to_pylist()
    return ids


def _of_kind(changes: pa.Table, *kinds: str) -> pa.Table:
    import pyarrow.compute as pc

    return changes.filter(pc.field("kind").isin(kinds))


def _counts(index: Index, added: int, replaced: int, removed: int) -> dict[str, int]:
    return {"size": len(index), "added": added, "replaced": replaced, "removed": removed}
