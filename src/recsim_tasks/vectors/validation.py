"""Check what enters an index and what is searched for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.arrays import AnyArray, BoolArray
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.text import one_line

if TYPE_CHECKING:
    import pyarrow as pa

# How far the length of a unit vector may be from 1.
NORM_TOLERANCE = 1e-3
# An error names at most so many products.
NAMED_PRODUCTS = 5


def is_unit(vectors: AnyArray) -> BoolArray:
    """Return which of `vectors` [n, d] are finite and of unit length."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.abs(np.einsum("nd,nd->n", vectors, vectors) - 1) < 2 * NORM_TOLERANCE)


def check_vectors(vectors: AnyArray, count: int, size: int | None) -> None:
    """Raise `InputError` unless `vectors` are unit vectors float [count, size]; None allows any size."""
    if vectors.ndim != 2 or len(vectors) != count or size not in (None, vectors.shape[1]):
        raise InputError(
            f"Expected vectors of shape ({count}, {'any' if size is None else size}), got {vectors.shape}. "
            "Embed with the encoder of the index."
        )
    wrong = np.flatnonzero(~is_unit(vectors))
    if len(wrong):
        raise InputError(
            f"{len(wrong):,} of {count:,} vectors are not finite or not of unit length, "
            f"the first in row {wrong[0]}. Leave them out: they have no cosine similarity."
        )


def check_products(products: pa.Table) -> None:
    """Raise `InputError` when a product has no id, or occurs twice."""
    import pyarrow.compute as pc

    ids = products.column("product_id")
    if not ids.null_count and len(ids.unique()) == len(ids):
        return
    counts = ids.drop_null().value_counts()
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    names = ", ".join(one_line(product) for product in sorted(repeated)[:NAMED_PRODUCTS])
    raise InputError(
        f"Of {len(ids):,} products, {ids.null_count:,} have no id and {len(repeated):,} occur more than once"
        f"{': ' * bool(names)}{names}. Pass each product once, with its id."
    )


def check_queries(queries: AnyArray, k: int, size: int) -> None:
    """Raise `InputError` unless `queries` are finite float [q, size] and k is at least 1."""
    if k < 1:
        raise InputError(f"k is {k}. Ask for one neighbour or more.")
    if queries.ndim != 2 or queries.shape[1] != size:
        raise InputError(
            f"The index has vectors of {size} dimensions, the query has shape {queries.shape}. "
            "Embed it with the encoder of the index."
        )
    if not np.isfinite(queries.sum()):
        raise InputError("The query has values that are not finite. Embed the image again.")
