"""How good answers are: queries that no training has seen, against a gallery, as a whole and by slice. Pure NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from recsim_tasks.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from recsim_tasks.learning.metrics import map_at_r, precision_at_k, r_precision, relevant_counts

Masks = Mapping[str, BoolArray]
BLOCK = 500
SHOWN = 10
METRICS = ("precision_at_1", "precision_at_10", "map_at_r", "r_precision")


@dataclass(frozen=True)
class Answers:
    """What each of q queries finds in the gallery: nearest first."""

    nearest: Int64Array
    """Rows of the gallery, [q, 10]."""
    metrics: dict[str, float]
    slices: dict[str, dict[str, float]]
    """The same measures, and `queries`, by slice."""


def answers(
    queries: Float32Array,
    labels: Int64Array,
    gallery: Float32Array,
    gallery_labels: Int64Array,
    slices: Masks,
) -> Answers:
    """Rank the gallery [n, d] for each of `queries` [q, d] by Euclidean distance, which for unit vectors is the order of cosines.

    Precision at 1 and 10, MAP@R and R-precision, `learning.metrics` says by which definition; R is the number of a query's category in
    the gallery. A query whose category the gallery lacks counts for precision alone. `slices` choose queries, [q] each, by name.
    """
    relevant = relevant_counts(labels, gallery_labels, leave_one_out=False)
    depth = min(len(gallery), max(SHOWN, int(relevant.max(initial=0))))
    nearest = np.empty((len(queries), min(SHOWN, depth)), np.int64)
    found = np.empty((len(queries), depth), gallery_labels.dtype)
    for start, rows in _ranked(queries, gallery, depth):
        nearest[start : start + len(rows)] = rows[:, :SHOWN]
        found[start : start + len(rows)] = gallery_labels[rows]
    return Answers(
        nearest,
        _measured(labels, found, relevant),
        {
            name: {"queries": int(mask.sum()), **_measured(labels[mask], found[mask], relevant[mask])}
            for name, mask in slices.items()
        },
    )


def confusion(labels: Int64Array, nearest: Int64Array, categories: int) -> Float64Array:
    """Share of each category [i] among the neighbours [q, k] of the queries of each category [row]; a row of zeros without queries."""
    counts = np.zeros((categories, categories))
    np.add.at(counts, (np.repeat(labels, nearest.shape[1]), nearest.ravel()), 1)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _measured(labels: Int64Array, found: Int64Array, relevant: Int64Array) -> dict[str, float]:
    within = found[:, : int(relevant.max(initial=0))]
    return {
        "precision_at_1": precision_at_k(labels, found, min(1, found.shape[1])),
        "precision_at_10": precision_at_k(labels, found, min(SHOWN, found.shape[1])),
        "map_at_r": map_at_r(labels, within, relevant),
        "r_precision": r_precision(labels, within, relevant),
    }


def _ranked(queries: Float32Array, gallery: Float32Array, depth: int) -> Iterator[tuple[int, Int64Array]]:
    """First query of a block, and the `depth` nearest rows of the gallery for each of the block."""
    half = 0.5 * np.einsum("nd,nd->n", gallery, gallery)
    for start in range(0, len(queries), BLOCK):
        scores = queries[start : start + BLOCK] @ gallery.T - half
        rows = (
            np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
            if depth < scores.shape[1]
            else np.tile(np.arange(depth), (len(scores), 1))
        )
        order = np.argsort(-np.take_along_axis(scores, rows, axis=1), axis=1, kind="stable")
        yield start, np.take_along_axis(rows, order, axis=1)
