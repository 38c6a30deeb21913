"""The order of an answer, which depends on the vectors alone. Pure.

FAISS adds up a product in another order by where a vector lies, so that equal vectors get scores that differ in the last bit, and
which of them is found depends on how the index came about. So the scores of what it finds are computed anew, in float64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsim_tasks.vectors.brute_force import Floats, Rows

Scores = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
# What FAISS's own scores, in float32, are off by at most: some 1e-7.
ROUNDING = 1e-6


def scores_of(queries: Floats, vectors: Floats) -> Scores:
    """Cosines float64 [q, w] of unit `queries` [q, d] and, for each, its own unit `vectors` [q, w, d]."""
    return np.asarray(np.einsum("qwd,qd->qw", vectors.astype(np.float64), queries.astype(np.float64)))


def best_first(scores: Scores, ranks: Rows) -> Rows:
    """Places [q, w] in the order of falling `scores` [q, w]; equal ones in the order of `ranks` [q, w]."""
    return np.asarray(np.lexsort((ranks, -scores), axis=-1))


def settled(last: Scores, worst: Scores) -> Flags:
    """For which queries what was left out is farther than the k-th, whose scores are `last` [q]: it can be as near as the `worst` [q] found."""
    return np.asarray(last - worst > ROUNDING)
