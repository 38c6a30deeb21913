"""Retrieval metrics from the labels of ranked neighbours. Pure NumPy.

Precision at k, R-precision and MAP@R, per query and as means over queries, as in K. Musgrave, S. Belongie, S.
Lim, "A Metric Learning Reality Check", ECCV 2020 (https://arxiv.org/abs/2003.08505), section 3.2. All take
the labels of q queries, `query_labels` [q], and those of their neighbours, `neighbour_labels` [q, n], nearest
first, without the query itself.
"""

from __future__ import annotations

import numpy as np

from recsim_tasks.arrays import AnyArray, BoolArray, Float64Array, Int64Array


def precision_at_k(query_labels: AnyArray, neighbour_labels: AnyArray, k: int) -> float:
    """Mean share of the `k` nearest neighbours that have the query's label; n must be at least `k`."""
    return _mean(precisions_at_k(query_labels, neighbour_labels, k))


def r_precision(query_labels: AnyArray, neighbour_labels: AnyArray, relevant: Int64Array) -> float:
    """Mean precision at R, each query's number of `relevant` items [q]; ignores queries whose R is 0."""
    return _mean(r_precisions(query_labels, neighbour_labels, relevant))


def mean_average_precision_at_r(
    query_labels: AnyArray, neighbour_labels: AnyArray, relevant: Int64Array
) -> float:
    """MAP@R: mean of (1/R) sum of precision at i over relevant ranks i <= R; ignores queries whose R is 0."""
    return _mean(average_precisions_at_r(query_labels, neighbour_labels, relevant))


def precisions_at_k(query_labels: AnyArray, neighbour_labels: AnyArray, k: int) -> Float64Array:
    """Precision at `k` of each query, float64 [q]."""
    _check_depth(neighbour_labels, k)
    return np.asarray(_hits(query_labels, neighbour_labels)[:, :k].mean(axis=1))


def r_precisions(query_labels: AnyArray, neighbour_labels: AnyArray, relevant: Int64Array) -> Float64Array:
    """Precision at R of each query, float64 [q]; NaN where R is 0."""
    hits, _ = _hits_within_r(query_labels, neighbour_labels, relevant)
    return _divide_by_r(hits.sum(axis=1), relevant)


def average_precisions_at_r(
    query_labels: AnyArray, neighbour_labels: AnyArray, relevant: Int64Array
) -> Float64Array:
    """Average precision at R of each query, float64 [q]; NaN where R is 0."""
    hits, ranks = _hits_within_r(query_labels, neighbour_labels, relevant)
    return _divide_by_r((np.cumsum(hits, axis=1) / ranks * hits).sum(axis=1), relevant)


def relevant_counts(query_labels: AnyArray, reference_labels: AnyArray, *, leave_one_out: bool) -> Int64Array:
    """R of each query, int64 [q]: how many of `reference_labels` [n] equal its label.

    With `leave_one_out` the query is one of the references and does not count.
    """
    names, counts = np.unique(reference_labels, return_counts=True)
    count_of = dict(zip(names.tolist(), counts.tolist(), strict=True))
    relevant = np.array([count_of.get(label, 0) for label in query_labels.tolist()], np.int64)
    return np.maximum(relevant - 1, 0) if leave_one_out else relevant


def _hits(query_labels: AnyArray, neighbour_labels: AnyArray) -> BoolArray:
    return np.asarray(neighbour_labels == np.asarray(query_labels)[:, None], bool)


def _hits_within_r(
    query_labels: AnyArray, neighbour_labels: AnyArray, relevant: Int64Array
) -> tuple[BoolArray, Int64Array]:
    """Hits [q, largest R], False beyond each query's own R, and the ranks 1..R."""
    depth = int(relevant.max(initial=0))
    _check_depth(neighbour_labels, depth)
    ranks = np.arange(1, depth + 1)
    return _hits(query_labels, neighbour_labels)[:, :depth] & (ranks[None, :] <= relevant[:, None]), ranks


def _divide_by_r(sums: AnyArray, relevant: Int64Array) -> Float64Array:
    return np.where(relevant > 0, sums / np.maximum(relevant, 1), np.nan)


def _mean(values: Float64Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def _check_depth(neighbour_labels: AnyArray, depth: int) -> None:
    if neighbour_labels.ndim != 2 or neighbour_labels.shape[1] < depth:
        raise ValueError(
            f"{depth} neighbours per query are needed, but the array has shape {neighbour_labels.shape}"
        )
