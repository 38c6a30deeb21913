"""Order results by their vectors alone. Pure.

FAISS sums a product in an order that depends on where a vector is stored: equal vectors get scores that
differ in the last bit, and which of them is found depends on how the index was made. So the scores of the
candidates are computed again, in float64.
"""

from __future__ import annotations

import numpy as np

from recsim_tasks.arrays import BoolArray, Float32Array, Float64Array, Int64Array

# FAISS's float32 scores are off by at most some 1e-7.
ROUNDING = 1e-6


def cosine_scores(queries: Float32Array, vectors: Float32Array) -> Float64Array:
    """Return cosines float64 [q, w] of unit `queries` [q, d] and their own unit `vectors` [q, w, d]."""
    return np.asarray(np.einsum("qwd,qd->qw", vectors.astype(np.float64), queries.astype(np.float64)))


def rank_order(scores: Float64Array, ranks: Int64Array) -> Int64Array:
    """Return the columns [q, w] in descending order of `scores` [q, w].

    Ties in ascending order of `ranks` [q, w].
    """
    return np.asarray(np.lexsort((ranks, -scores), axis=-1))


def settled(last: Float64Array, worst: Float64Array) -> BoolArray:
    """Return for which queries, [q], the first k results are final.

    A product that was not found can score as high as the `worst` [q] candidate; the k-th result, with score
    `last` [q], must be better than that.
    """
    return np.asarray(last - worst > ROUNDING)
