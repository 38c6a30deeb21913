"""What may enter an index, and what may be asked of it."""

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
# Of products with a fault, so many are named.
NAMED = 5


def unit_rows(vectors: AnyArray) -> BoolArray:
    """Which of `vectors` [n, d] are finite and of unit length."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.abs(np.einsum("nd,nd->n", vectors, vectors) - 1) < 2 * NORM_TOLERANCE)


def check_vectors(vectors: AnyArray, count: int, size: int | None) -> None:
    """Raise `InputError` unless `vectors` are unit vectors float [count, size]; any size when it is None."""
    if vectors.ndim != 2 or len(vectors) != count or size not in (None, vectors.shape[1]):
        raise InputError(
            f"{count:,} vectors of {size or 'one'} length are expected, given are {vectors.shape}. Embed with the model that made the index."
        )
    wrong = np.flatnonzero(~unit_rows(vectors))
    if len(wrong):
        raise InputError(
            f"{len(wrong):,} of {count:,} vectors are not finite and of unit length, the first in row {wrong[0]}. Keep them out: they have no cosine."
        )


def check_products(products: pa.Table) -> None:
    """Raise `InputError` when a product has no id, or is there twice."""
    import pyarrow.compute as pc

    ids = products.column("product_id")
    if not ids.null_count and len(ids.unique()) == len(ids):
        return
    counted = ids.drop_null().value_counts()
    twice = counted.filter(pc.greater(counted.field("counts"), 1)).field("values").to_pylist()
    named = ", ".join(one_line(product) for product in sorted(twice)[:NAMED])
    raise InputError(
        f"Of {len(ids):,} products {ids.null_count:,} have no id, {len(twice):,} are there twice{': ' * bool(named)}{named}. "
        "Give each once, as it is now."
    )


def check_queries(queries: AnyArray, k: int, size: int) -> None:
    """Raise `InputError` unless `queries` are finite float [q, size] and k is at least 1."""
    if k < 1:
        raise InputError(f"k is {k}. Ask for one neighbour or more.")
    if queries.ndim != 2 or queries.shape[1] != size:
        raise InputError(
            f"The index holds vectors of {size}, the query is {queries.shape}. Embed it with the model that made the index."
        )
    if not np.isfinite(queries.sum()):
        raise InputError("The query holds numbers that are not finite. Embed the picture again.")
