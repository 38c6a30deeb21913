"""Recall@10: the share of the exact ten nearest neighbours that an index finds."""

from __future__ import annotations

import numpy as np

from recsim_tasks.arrays import AnyArray, Float32Array, Float64Array, Int64Array
from recsim_tasks.vectors.brute_force import exact_neighbours
from recsim_tasks.vectors.index import Index
from recsim_tasks.vectors.ranking import ROUNDING
from recsim_tasks.vectors.search import Neighbours

K = 10


def neighbours_without_self(index: Index, rows: Int64Array, vectors: Float32Array) -> Neighbours:
    """Search the ten nearest of the products in `rows` [q] of the index, whose vectors are `vectors` [q, d].

    A product is not its own neighbour. An index of ten products or fewer gives fewer.
    """
    neighbours = index.neighbours(vectors, min(K, len(index) - 1) + 1)
    positions = neighbours.positions
    return Neighbours(drop_self(positions, rows, positions), drop_self(positions, rows, neighbours.scores))


def mean_recall(neighbours: Neighbours, rows: Int64Array, vectors: Float32Array) -> float:
    """Return the mean of `recall_per_query`."""
    return float(np.mean(recall_per_query(neighbours, rows, vectors)))


def recall_per_query(neighbours: Neighbours, rows: Int64Array, vectors: Float32Array) -> Float64Array:
    """Return recall@10 of each query, [q], against an exact search among `vectors` [n, d], all of the index.

    A result counts when it is as near as the last of the exact search: with equal images, any of them will
    do.
    """
    depth = neighbours.scores.shape[1]
    exact, scores = exact_neighbours(vectors, vectors[rows], depth + 1)
    farthest = drop_self(exact, rows, scores)[:, -1:]
    return np.asarray((neighbours.scores >= farthest - ROUNDING).mean(axis=1))


def drop_self(rows: Int64Array, own: Int64Array, values: AnyArray) -> AnyArray:
    """Drop from `values` [q, n + 1] the column where `rows` is the query's `own` row, else the last one."""
    kept = rows != own[:, None]
    kept[kept.all(axis=1), -1] = False
    return np.reshape(values[kept], (len(rows), rows.shape[1] - 1))
