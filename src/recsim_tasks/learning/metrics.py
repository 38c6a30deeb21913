"""How good a ranking of neighbours is, from their labels. Pure NumPy.

Precision at k, R-precision and MAP@R, of each query and as means over queries, as in K. Musgrave, S. Belongie, S. Lim, "A Metric Learning Reality Check", ECCV 2020
(https://arxiv.org/abs/2003.08505), section 3.2. All take the labels of queries, [q], and those of their neighbours, [q, n], nearest
first, the query itself left out.
"""

from __future__ import annotations

import numpy as np

from recsim_tasks.arrays import AnyArray, BoolArray, Float64Array, Int64Array


def precision_at_k(labels: AnyArray, neighbours: AnyArray, k: int) -> float:
    """Mean share of the `k` nearest neighbours that have the query's label; n must be at least `k`."""
    return _mean(precisions_at_k(labels, neighbours, k))


def r_precision(labels: AnyArray, neighbours: AnyArray, relevant: Int64Array) -> float:
    """Mean of precision at R, R being each query's own number of relevant items, `relevant` [q]; a query without any is left out."""
    return _mean(r_precisions(labels, neighbours, relevant))


def map_at_r(labels: AnyArray, neighbours: AnyArray, relevant: Int64Array) -> float:
    """Mean over queries of (1/R) sum of precision at i over the relevant places i <= R; a query without relevant items is left out."""
    return _mean(average_precisions(labels, neighbours, relevant))


def precisions_at_k(labels: AnyArray, neighbours: AnyArray, k: int) -> Float64Array:
    """Of each query, [q], the share of its `k` nearest neighbours that have its label."""
    _need(neighbours, k)
    return np.asarray(_hits(labels, neighbours)[:, :k].mean(axis=1))


def r_precisions(labels: AnyArray, neighbours: AnyArray, relevant: Int64Array) -> Float64Array:
    """Of each query, [q], its precision at R; NaN where R is 0."""
    hits, _ = _within_r(labels, neighbours, relevant)
    return _by_r(hits.sum(axis=1), relevant)


def average_precisions(labels: AnyArray, neighbours: AnyArray, relevant: Int64Array) -> Float64Array:
    """Of each query, [q], what MAP@R is the mean of; NaN where R is 0."""
    hits, ranks = _within_r(labels, neighbours, relevant)
    return _by_r((np.cumsum(hits, axis=1) / ranks * hits).sum(axis=1), relevant)


def relevant_counts(labels: AnyArray, gallery: AnyArray, leave_one_out: bool) -> Int64Array:
    """How many items of `gallery` [n] have each query's label, [q]; less the query itself when it is one of them."""
    names, counts = np.unique(gallery, return_counts=True)
    of = dict(zip(names.tolist(), counts.tolist(), strict=True))
    found = np.array([of.get(label, 0) for label in labels.tolist()], np.int64)
    return np.maximum(found - 1, 0) if leave_one_out else found


def _hits(labels: AnyArray, neighbours: AnyArray) -> BoolArray:
    return np.asarray(neighbours == np.asarray(labels)[:, None], bool)


def _within_r(labels: AnyArray, neighbours: AnyArray, relevant: Int64Array) -> tuple[BoolArray, Int64Array]:
    """Hits [q, deepest R] with those below each query's R taken out, and the places 1..R."""
    deepest = int(relevant.max(initial=0))
    _need(neighbours, deepest)
    ranks = np.arange(1, deepest + 1)
    return _hits(labels, neighbours)[:, :deepest] & (ranks[None, :] <= relevant[:, None]), ranks


def _by_r(sums: AnyArray, relevant: Int64Array) -> Float64Array:
    return np.where(relevant > 0, sums / np.maximum(relevant, 1), np.nan)


def _mean(shares: Float64Array) -> float:
    known = shares[~np.isnan(shares)]
    return float(known.mean()) if len(known) else 0.0


def _need(neighbours: AnyArray, depth: int) -> None:
    if neighbours.ndim != 2 or neighbours.shape[1] < depth:
        raise ValueError(
            f"{depth} neighbours a query are needed, given is an array of shape {neighbours.shape}"
        )
