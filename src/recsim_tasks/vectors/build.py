"""Bring an index to a cursor: build it from the embeddings table, or append the change range."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.arrays import Float32Array
from recsim_tasks.catalogue.delta.net_changes import net_changes
from recsim_tasks.catalogue.delta.reader import read_products
from recsim_tasks.catalogue.schema import INDEXED
from recsim_tasks.contracts import Cursor, IndexCounts
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.embeddings import read_embeddings
from recsim_tasks.vectors.index import Index, IndexOrigin
from recsim_tasks.vectors.product_table import with_thumbnails

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


def build(settings: Settings, cursor: Cursor, model_fingerprint: str) -> tuple[Index, IndexCounts]:
    """Build an index of all products at `cursor`; products whose image has no embedding are left out."""
    products, vectors, _ = _with_vectors(
        settings, model_fingerprint, read_products(settings.products_uri, cursor, list(INDEXED))
    )
    origin = IndexOrigin(model_fingerprint, cursor)
    index = Index.build(products, vectors, origin, settings.index_exact_below, settings.index_recall)
    return index, IndexCounts(size=len(index), added=len(index), replaced=0, removed=0)


def append(settings: Settings, index: Index, to: Cursor) -> IndexCounts:
    """Apply the changes since the index's own cursor to `index`, which then reflects the catalogue at `to`.

    The cost follows the changes: only their embeddings are read, only they are added, replaced or removed.
    """
    changes = net_changes(settings.products_uri, index.metadata.cursor, to)
    new_images = _of_kind(changes, "insert", "replace")
    valid, vectors, invalid = _with_vectors(settings, index.metadata.model_fingerprint, new_images)
    removed = index.remove([*_ids(_of_kind(changes, "delete")), *_ids(invalid)])
    before = len(index)
    if len(valid):
        index.upsert(valid, vectors)
    index.update(_of_kind(changes, "update"))
    index.advance(to)
    added = len(index) - before
    return IndexCounts(size=len(index), added=added, replaced=len(valid) - added, removed=removed)


def compact(settings: Settings, index: Index) -> tuple[Index, IndexCounts]:
    """Rebuild an index from its own vectors: drop what removals left behind, and train its lists again."""
    _, vectors = index.all_vectors()
    compacted = Index.build(
        index.products, vectors, index.metadata, settings.index_exact_below, settings.index_recall
    )
    return compacted, IndexCounts(size=len(compacted), added=0, replaced=0, removed=0)


def _with_vectors(
    settings: Settings, model_fingerprint: str, products: pa.Table
) -> tuple[pa.Table, Float32Array, pa.Table]:
    """Split products by whether their image has an embedding.

    Returns the products that have one, with thumbnails; their embeddings; the products that have none.
    """
    if not len(products):
        return products, np.empty((0, 0), np.float32), products
    embeddings = read_embeddings(settings.embeddings_uri, model_fingerprint, products["image_hash"])
    products, valid = with_thumbnails(products, embeddings.thumbnails), embeddings.valid
    if valid.all():
        return products, embeddings.vectors, products.slice(0, 0)
    log.warning(
        "%s of %s products are left out: their image has no embedding. `recsim quarantine` lists them.",
        f"{int((~valid).sum()):,}",
        f"{len(valid):,}",
    )
    return products.filter(valid), embeddings.vectors[valid], products.filter(~valid)


def _ids(products: pa.Table) -> list[str]:
    ids: list[str] = products["product_id"].to_pylist()
    return ids


def _of_kind(changes: pa.Table, *kinds: str) -> pa.Table:
    import pyarrow.compute as pc

    return changes.filter(pc.field("kind").isin(kinds))
