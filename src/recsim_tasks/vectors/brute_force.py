"""Exact nearest neighbours in NumPy: the reference that every index is compared with."""

from __future__ import annotations

import numpy as np

from recsim_tasks.arrays import Float32Array, Int64Array

# Scores of queries and vectors that are computed at once: 64 MiB.
BLOCK_SCORES = 2**24
# Adjacent scores of which only the maximum is considered first.
GROUP_SIZE = 64


def exact_neighbours(vectors: Float32Array, queries: Float32Array, k: int) -> tuple[Int64Array, Float32Array]:
    """Return the `k` rows of `vectors` [n, d] with the largest inner product for each of `queries` [q, d].

    Returns rows and inner products, both [q, min(k, n)], best first; ties go to the lower row.
    """
    k = min(k, len(vectors))
    rows, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    block = max(1, BLOCK_SCORES // max(len(vectors), 1))
    for start in range(0, len(queries) if k else 0, block):
        part = slice(start, start + block)
        rows[part], scores[part] = _nearest(vectors, queries[part], k)
    return rows, scores


def _nearest(vectors: Float32Array, queries: Float32Array, k: int) -> tuple[Int64Array, Float32Array]:
    """Search one block of queries.

    Sort only the few scores that reach a bound which at least k of them reach.
    """
    scores = queries @ vectors.T
    query_rows, rows = np.nonzero(scores >= _lower_bound(scores, k)[:, None])
    candidates = scores[query_rows, rows]
    order = np.lexsort((rows, -candidates, query_rows))
    starts = np.searchsorted(query_rows, np.arange(len(queries)))
    first = order[starts[:, None] + np.arange(k)]
    return rows[first], candidates[first]


def _lower_bound(scores: Float32Array, k: int) -> Float32Array:
    """Return per query, [q], the k-th largest group maximum: at least k of `scores` [q, n] reach it."""
    groups = scores.shape[1] // GROUP_SIZE
    if groups < 2 * k:
        return np.asarray(np.partition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k])
    largest = scores[:, : groups * GROUP_SIZE].reshape(len(scores), groups, GROUP_SIZE).max(axis=2)
    return np.asarray(np.partition(largest, groups - k, axis=1)[:, groups - k])
