"""Exact nearest neighbours in NumPy: the reference that every index is held against."""

from __future__ import annotations

from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float32]]
Rows = np.ndarray[Any, np.dtype[np.int64]]
# Products of a query and a vector that are looked at together: a quarter of a gigabyte, and three times that to sort them.
AT_A_TIME = 2**26


def exact_neighbours(vectors: Floats, queries: Floats, k: int) -> tuple[Rows, Floats]:
    """The `k` rows of `vectors` [n, d] with the largest inner product for each of `queries` [q, d], and these products.

    Both results are [q, min(k, n)], best first; ties go to the lower row.
    """
    k = min(k, len(vectors))
    block = max(1, AT_A_TIME // max(len(vectors), 1))
    parts = [_nearest(vectors, queries[i : i + block], k) for i in range(0, len(queries), block)]
    rows = np.concatenate([part[0] for part in parts]) if parts else np.empty((0, k), np.int64)
    scores = np.concatenate([part[1] for part in parts]) if parts else np.empty((0, k), np.float32)
    return rows, scores


def _nearest(vectors: Floats, queries: Floats, k: int) -> tuple[Rows, Floats]:
    scores = queries @ vectors.T
    rows = np.argpartition(-scores, k - 1, axis=1)[:, :k] if k < scores.shape[1] else np.tile(np.arange(k), (len(queries), 1))
    best = np.take_along_axis(scores, rows, axis=1)
    order = np.lexsort((rows, -best), axis=1)
    return np.take_along_axis(rows, order, axis=1).astype(np.int64), np.take_along_axis(best, order, axis=1)
