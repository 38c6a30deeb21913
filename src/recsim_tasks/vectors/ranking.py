"""The order of an answer, which depends on the vectors alone. Pure.

FAISS adds up a product in another order by where a vector lies, so that equal vectors get scores that differ in the last bit, and
which of them is found depends on how the index came about. So the scores of what it finds are computed anew, in float64.
"""

from __future__ import annotations

import numpy as np

from recsim_tasks.arrays import BoolArray, Float32Array, Float64Array, Int64Array

# What FAISS's own scores, in float32, are off by at most: some 1e-7.
ROUNDING = 1e-6


def scores_of(queries: Float32Array, vectors: Float32Array) -> Float64Array:
    """Cosines float64 [q, w] of unit `queries` [q, d] and, for each, its own unit `vectors` [q, w, d]."""
    return np.asarray(np.einsum("qwd,qd->qw", vectors.astype(np.float64), queries.astype(np.float64)))


def best_first(scores: Float64Array, ranks: Int64Array) -> Int64Array:
    """Places [q, w] in the order of falling `scores` [q, w]; equal ones in the order of `ranks` [q, w]."""
    return np.asarray(np.lexsort((ranks, -scores), axis=-1))


def settled(last: Float64Array, worst: Float64Array) -> BoolArray:
    """For which queries what was left out is farther than the k-th, whose scores are `last` [q]: it can be as near as the `worst` [q] found."""
    return np.asarray(last - worst > ROUNDING)
