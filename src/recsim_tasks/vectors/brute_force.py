"""Exact nearest neighbours in NumPy: the reference that every index is held against."""

from __future__ import annotations

import numpy as np

from recsim_tasks.arrays import Float32Array, Int64Array

# Products of a query and a vector that are looked at together: 64 MiB.
AT_A_TIME = 2**24
# So many neighbouring products are first looked at by their largest alone.
GROUP = 64


def exact_neighbours(vectors: Float32Array, queries: Float32Array, k: int) -> tuple[Int64Array, Float32Array]:
    """The `k` rows of `vectors` [n, d] with the largest inner product for each of `queries` [q, d], and these products.

    Both results are [q, min(k, n)], best first; ties go to the lower row.
    """
    k = min(k, len(vectors))
    rows, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    block = max(1, AT_A_TIME // max(len(vectors), 1))
    for start in range(0, len(queries) if k else 0, block):
        part = slice(start, start + block)
        rows[part], scores[part] = _nearest(vectors, queries[part], k)
    return rows, scores


def _nearest(vectors: Float32Array, queries: Float32Array, k: int) -> tuple[Int64Array, Float32Array]:
    """Search one block of queries, and sort only the few products that reach what at least k of them reach."""
    scores = queries @ vectors.T
    asked, rows = np.nonzero(scores >= _least(scores, k)[:, None])
    found = scores[asked, rows]
    order = np.lexsort((rows, -found, asked))
    starts = np.searchsorted(asked, np.arange(len(queries)))
    first = order[starts[:, None] + np.arange(k)]
    return rows[first], found[first]


def _least(scores: Float32Array, k: int) -> Float32Array:
    """Find for each query a number, [q], that at least k of its `scores` [q, n] reach: the k-th largest of the groups' maxima."""
    groups = scores.shape[1] // GROUP
    if groups < 2 * k:
        return np.asarray(np.partition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k])
    largest = scores[:, : groups * GROUP].reshape(len(scores), groups, GROUP).max(axis=2)
    return np.asarray(np.partition(largest, groups - k, axis=1)[:, groups - k])
