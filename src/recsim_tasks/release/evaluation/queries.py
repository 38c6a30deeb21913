"""Query a release with its own products, each left out of its own results, and score every query."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from recsim_tasks.arrays import AnyArray, BoolArray, Float32Array, Float64Array, Int64Array
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.learning.data.shards import fractions_and_keys
from recsim_tasks.learning.data.splits import splits_of
from recsim_tasks.learning.metrics import (
    average_precisions_at_r,
    precisions_at_k,
    r_precisions,
    relevant_counts,
)
from recsim_tasks.vectors.brute_force import exact_neighbours
from recsim_tasks.vectors.index import Index
from recsim_tasks.vectors.recall import K, drop_self, neighbours_without_self, recall_per_query

MIN_QUERIES = 10
# A share of fewer queries is too uncertain for a rule of its own.
MIN_SLICE_QUERIES = 20
QUERY_METRICS = ("precision_at_1", "precision_at_10", "map_at_r", "r_precision", "ann_recall_at_10")


@dataclass(frozen=True)
class QueryResults:
    """The queries and their results, one row a query."""

    product_ids: AnyArray
    """The queried products, [q]."""
    labels: AnyArray
    """Their categories, [q]."""
    neighbours: AnyArray
    """Ids of the products found, nearest first, [q, 10], or fewer for a small index."""
    metrics: dict[str, Float64Array]
    """By the names of `QUERY_METRICS`, float64 [q] each; NaN where a query has no relevant product."""

    def means(self, mask: BoolArray | None = None) -> dict[str, float]:
        """The mean of each metric over all queries, or over those in `mask` [q]; 0 if all values are NaN."""
        parts = {name: values if mask is None else values[mask] for name, values in self.metrics.items()}
        known = {name: values[~np.isnan(values)] for name, values in parts.items()}
        return {name: float(values.mean()) if len(values) else 0.0 for name, values in known.items()}


def run_queries(index: Index, rows: Int64Array) -> QueryResults:
    """Search for the neighbours of the products in these `rows` [q] of the index.

    `precision_at_1` and `precision_at_10` score the results of the index. `map_at_r` and `r_precision` score
    an exact search among the queried products alone, which makes R, and the cost, independent of the size of
    the catalogue. `ann_recall_at_10` is the share of the exact ten nearest that the index finds.
    """
    ids, vectors = index.all_vectors()
    names, labels = np.array(ids, object), categories(index)
    neighbours = neighbours_without_self(index, rows, vectors[rows])
    found_labels = labels[neighbours.positions]
    depth = found_labels.shape[1]
    metrics = {
        f"precision_at_{k}": precisions_at_k(labels[rows], found_labels, min(k, depth)) for k in (1, K)
    }
    metrics |= _exact_metrics(labels[rows], vectors[rows])
    metrics["ann_recall_at_10"] = recall_per_query(neighbours, rows, vectors)
    return QueryResults(names[rows], labels[rows], names[neighbours.positions], metrics)


def sample_rows(index: Index, limit: int, among: Int64Array | None = None) -> Int64Array:
    """Choose the products to query with; returns their rows, int64 [q].

    They have a category and belong to the test split, which no training sees, or to any split if the test
    split has too few. At most `limit` are chosen from the rows `among`, or from all rows, and more only to
    have 20 of each category. Image hashes decide, so that two releases of nearly the same catalogue are
    queried with nearly the same products. Raises `InputError` if fewer than two products have a category.
    """
    ids, hashes = (index.products.column(name).to_pylist() for name in ("product_id", "image_hash"))
    names = categories(index)
    labelled = np.arange(len(names)) if among is None else among
    labelled = labelled[names[labelled] != ""]
    if len(labelled) < 2:
        raise InputError(
            "Fewer than two products of the index have a category, so its results cannot be scored. "
            "Deliver products with categories."
        )
    unseen = labelled[splits_of(fractions_and_keys([hashes[row] for row in labelled.tolist()])[0]) == "test"]
    rows = (unseen if len(unseen) >= MIN_QUERIES else labelled).tolist()
    candidates = sorted(rows, key=lambda row: (hashes[row], ids[row]))
    chosen, counts = candidates[:limit], Counter(names[row] for row in candidates[:limit])
    for row in candidates[limit:]:
        if counts[names[row]] < MIN_SLICE_QUERIES:
            counts[names[row]] += 1
            chosen.append(row)
    return np.array(chosen, np.int64)


def categories(index: Index) -> AnyArray:
    """The category of every product, [n]; empty for products without one."""
    return np.array([name or "" for name in index.products.column("category").to_pylist()], object)


def _exact_metrics(labels: AnyArray, vectors: Float32Array) -> dict[str, Float64Array]:
    relevant = relevant_counts(labels, labels, leave_one_out=True)
    positions, _ = exact_neighbours(vectors, vectors, int(relevant.max()) + 1)
    found_labels = labels[drop_self(positions, np.arange(len(positions)), positions)]
    return {
        "map_at_r": average_precisions_at_r(labels, found_labels, relevant),
        "r_precision": r_precisions(labels, found_labels, relevant),
    }
