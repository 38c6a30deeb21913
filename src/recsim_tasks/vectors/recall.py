"""How much of what an exact search finds an index finds."""

from __future__ import annotations

import numpy as np

from recsim_tasks.arrays import AnyArray, Float32Array, Float64Array, Int64Array
from recsim_tasks.vectors.brute_force import exact_neighbours
from recsim_tasks.vectors.index import Index
from recsim_tasks.vectors.ranking import ROUNDING
from recsim_tasks.vectors.search import Found

K = 10


def without_own(index: Index, rows: Int64Array, vectors: Float32Array) -> Found:
    """The ten nearest of the products in these `rows` [q] of the index, whose vectors are `vectors` [q, d], without themselves.

    Fewer in an index of ten or fewer.
    """
    found = index.neighbours(vectors, min(K, len(index) - 1) + 1)
    return Found(
        drop_own(found.positions, rows, found.positions), drop_own(found.positions, rows, found.scores)
    )


def recall(found: Found, rows: Int64Array, vectors: Float32Array) -> float:
    """Mean of `recalls`."""
    return float(np.mean(recalls(found, rows, vectors)))


def recalls(found: Found, rows: Int64Array, vectors: Float32Array) -> Float64Array:
    """Of each query, [q], the share of the places of `found` whose product is as near as the last of the exact search among `vectors` [n, d], all of the index.

    An equally near product (the same picture twice) is as good a find.
    """
    depth = found.scores.shape[1]
    exact, scores = exact_neighbours(vectors, vectors[rows], depth + 1)
    farthest = drop_own(exact, rows, scores)[:, -1:]
    return np.asarray((found.scores >= farthest - ROUNDING).mean(axis=1))


def drop_own(rows: Int64Array, own: Int64Array, values: AnyArray) -> AnyArray:
    """`values` [q, n + 1] without the place where `rows` names the query itself, or without the last where it does not: [q, n]."""
    kept = rows != own[:, None]
    kept[kept.all(axis=1), -1] = False
    return np.reshape(values[kept], (len(rows), rows.shape[1] - 1))
