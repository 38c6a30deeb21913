"""Quality of retrieval: untrained queries, searched among references, overall and by slice. Pure NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recsim_tasks.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from recsim_tasks.learning.metrics import (
    mean_average_precision_at_r,
    precision_at_k,
    r_precision,
    relevant_counts,
)

SliceMasks = Mapping[str, BoolArray]
"""By name, which queries a slice has, [q]."""
QUERY_BLOCK = 500
TOP_K = 10
METRICS = ("precision_at_1", "precision_at_10", "map_at_r", "r_precision")


class LabelledVectors(NamedTuple):
    """Vectors, float32 [n, d], and their categories, int64 [n]."""

    vectors: Float32Array
    labels: Int64Array


@dataclass(frozen=True)
class RetrievalResult:
    """What q queries retrieve, and how good that is."""

    nearest: Int64Array
    """Rows of the ten nearest references, nearest first, [q, 10]."""
    metrics: dict[str, float]
    slices: dict[str, dict[str, float]]
    """The same metrics, and the number of `queries`, by slice."""


def evaluate_retrieval(
    queries: LabelledVectors, references: LabelledVectors, slices: SliceMasks
) -> RetrievalResult:
    """Rank the references for each query by Euclidean distance; unit vectors have the same order by cosine.

    Computes precision at 1 and 10, MAP@R and R-precision as `learning.metrics` defines them; R is the number
    of references of the query's category. A query whose category no reference has counts for precision alone.
    """
    relevant = relevant_counts(queries.labels, references.labels, leave_one_out=False)
    depth = min(len(references.vectors), max(TOP_K, int(relevant.max(initial=0))))
    nearest = np.empty((len(queries.vectors), min(TOP_K, depth)), np.int64)
    neighbour_labels = np.empty((len(queries.vectors), depth), references.labels.dtype)
    for start, rows in _nearest_rows(queries.vectors, references.vectors, depth):
        nearest[start : start + len(rows)] = rows[:, :TOP_K]
        neighbour_labels[start : start + len(rows)] = references.labels[rows]
    by_slice = {
        name: {
            "queries": int(mask.sum()),
            **_metrics(queries.labels[mask], neighbour_labels[mask], relevant[mask]),
        }
        for name, mask in slices.items()
    }
    return RetrievalResult(nearest, _metrics(queries.labels, neighbour_labels, relevant), by_slice)


def confusion(labels: Int64Array, neighbour_labels: Int64Array, categories: int) -> Float64Array:
    """Share of each category (column) among the neighbours [q, k] of each category's queries (row)."""
    counts = np.zeros((categories, categories))
    np.add.at(counts, (np.repeat(labels, neighbour_labels.shape[1]), neighbour_labels.ravel()), 1)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _metrics(labels: Int64Array, neighbour_labels: Int64Array, relevant: Int64Array) -> dict[str, float]:
    depth, within_r = neighbour_labels.shape[1], neighbour_labels[:, : int(relevant.max(initial=0))]
    return {
        "precision_at_1": precision_at_k(labels, neighbour_labels, min(1, depth)),
        "precision_at_10": precision_at_k(labels, neighbour_labels, min(TOP_K, depth)),
        "map_at_r": mean_average_precision_at_r(labels, within_r, relevant),
        "r_precision": r_precision(labels, within_r, relevant),
    }


def _nearest_rows(
    queries: Float32Array, references: Float32Array, depth: int
) -> Iterator[tuple[int, Int64Array]]:
    """By blocks of queries: the number of the first, and the `depth` nearest `references` of each."""
    half_norms = 0.5 * np.einsum("nd,nd->n", references, references)
    for start in range(0, len(queries), QUERY_BLOCK):
        scores = queries[start : start + QUERY_BLOCK] @ references.T - half_norms
        rows = (
            np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
            if depth < scores.shape[1]
            else np.tile(np.arange(depth), (len(scores), 1))
        )
        order = np.argsort(-np.take_along_axis(scores, rows, axis=1), axis=1, kind="stable")
        yield start, np.take_along_axis(rows, order, axis=1)
