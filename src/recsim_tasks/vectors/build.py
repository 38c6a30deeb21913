"""Bring an index to a cursor: whole from the embeddings table, or from the change range alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.changes import count_kinds, net_changes
from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.catalogue.table import PRODUCT_FIELDS, read_products
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.embeddings import read_embeddings
from recsim_tasks.vectors.index import Index

if TYPE_CHECKING:
    import pyarrow as pa


def build(settings: Settings, cursor: Cursor, model_fingerprint: str) -> tuple[Index, dict[str, int]]:
    """A new index of all products at `cursor`; also `size`, `added`, `replaced`, `removed`."""
    products = read_products(settings.products_uri, cursor, list(PRODUCT_FIELDS))
    vectors = _vectors(settings, model_fingerprint, products)
    metadata = {"model_fingerprint": model_fingerprint, "cursor": cursor.as_json()}
    index = Index.build(products, vectors, metadata, settings.index_exact_below)
    return index, _counts(index, added=len(index), replaced=0, removed=0)


def append(settings: Settings, index: Index, to: Cursor) -> dict[str, int]:
    """Take what changed since the index's own cursor into `index`, which then stands at `to`; counts as in `build`.

    Its cost follows the changes: only their embeddings are looked up, only they are added, replaced or removed.
    """
    changes = net_changes(settings.products_uri, Cursor.from_json(index.metadata["cursor"]), to)
    removed = index.remove(_of_kind(changes, "delete").column("product_id").to_pylist())
    pictured = _of_kind(changes, "insert", "replace")
    if len(pictured):
        index.upsert(pictured, _vectors(settings, index.metadata["model_fingerprint"], pictured))
    index.update(_of_kind(changes, "update"))
    index.metadata = {**index.metadata, "cursor": to.as_json()}
    kinds = count_kinds(changes)
    return _counts(index, added=kinds["insert"], replaced=kinds["replace"], removed=removed)


def compact(settings: Settings, index: Index) -> tuple[Index, dict[str, int]]:
    """A new index of the same products and vectors, without what removals left behind and with lists trained anew."""
    _, vectors = index.all_vectors()
    compacted = Index.build(index.items, vectors, index.metadata, settings.index_exact_below)
    return compacted, _counts(compacted, added=0, replaced=0, removed=0)


def _vectors(settings: Settings, model_fingerprint: str, products: pa.Table) -> Any:
    return read_embeddings(settings.embeddings_uri, model_fingerprint, products.column("image_hash").to_pylist())


def _of_kind(changes: pa.Table, *kinds: str) -> pa.Table:
    import pyarrow.compute as pc

    return changes.filter(pc.field("kind").isin(kinds))


def _counts(index: Index, added: int, replaced: int, removed: int) -> dict[str, int]:
    return {"size": len(index), "added": added, "replaced": replaced, "removed": removed}
