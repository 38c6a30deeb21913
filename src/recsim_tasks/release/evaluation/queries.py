"""Ask a release for more like its own products, each left out of its own answer, and judge every answer by itself."""

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

FEWEST_QUERIES = 10
# Of fewer queries a share says little, and is not judged by itself.
FEWEST_OF_A_PART = 20
FIGURES = ("precision_at_1", "precision_at_10", "map_at_r", "r_precision", "ann_recall_at_10")


@dataclass(frozen=True)
class Answered:
    """What was asked and answered, query by query."""

    product_ids: AnyArray
    """Who was asked for, [q]."""
    labels: AnyArray
    """Their categories, [q]."""
    nearest: AnyArray
    """The products answered, nearest first, [q, 10], or fewer of a small index."""
    figures: dict[str, Float64Array]
    """By the names of `FIGURES`, float64 [q] each; NaN where a query says nothing."""

    def means(self, mine: BoolArray | None = None) -> dict[str, float]:
        """Each figure over all queries, or over `mine` [q]; 0 where none says anything."""
        parts = {name: values if mine is None else values[mine] for name, values in self.figures.items()}
        known = {name: values[~np.isnan(values)] for name, values in parts.items()}
        return {name: float(values.mean()) if len(values) else 0.0 for name, values in known.items()}


def ask(index: Index, rows: Int64Array) -> Answered:
    """Ask for more like the products in these `rows` [q] of the index.

    `precision_at_1`, `precision_at_10` are of the index's answers; `map_at_r`, `r_precision` of an exact search among the products asked for
    alone, which makes R, and the cost, independent of the catalogue's size; `ann_recall_at_10` is the share of the exact ten nearest that
    the index finds.
    """
    ids, vectors = index.all_vectors()
    names, labels = np.array(ids, object), categories(index)
    answers = neighbours_without_self(index, rows, vectors[rows])
    found = labels[answers.positions]
    depth = found.shape[1]
    figures = {f"precision_at_{k}": precisions_at_k(labels[rows], found, min(k, depth)) for k in (1, K)}
    figures |= _within(labels[rows], vectors[rows])
    figures["ann_recall_at_10"] = recall_per_query(answers, rows, vectors)
    return Answered(names[rows], labels[rows], names[answers.positions], figures)


def sample_rows(index: Index, most: int, among: Int64Array | None = None) -> Int64Array:
    """The rows of the products that are asked for, int64 [q]: with a category, and not seen by any training; any when these are too few.

    At most `most`, of the rows `among` when they are given, and more only to have 20 of each category that has them. Chosen by their
    images' hashes, so that two releases of nearly the same catalogue are asked nearly the same. Raises `InputError` when nothing tells a
    good answer.
    """
    ids, hashes = (index.products.column(name).to_pylist() for name in ("product_id", "image_hash"))
    names = categories(index)
    labelled = np.arange(len(names)) if among is None else among
    labelled = labelled[names[labelled] != ""]
    if len(labelled) < 2:
        raise InputError(
            "The index holds fewer than two products with a category: nothing tells a good answer. Deliver categories."
        )
    unseen = labelled[splits_of(fractions_and_keys([hashes[row] for row in labelled.tolist()])[0]) == "test"]
    rows = (unseen if len(unseen) >= FEWEST_QUERIES else labelled).tolist()
    candidates = sorted(rows, key=lambda row: (hashes[row], ids[row]))
    chosen, counts = candidates[:most], Counter(names[row] for row in candidates[:most])
    for row in candidates[most:]:
        if counts[names[row]] < FEWEST_OF_A_PART:
            counts[names[row]] += 1
            chosen.append(row)
    return np.array(chosen, np.int64)


def categories(index: Index) -> AnyArray:
    """The category of every product, [n]; empty where it has none."""
    return np.array([name or "" for name in index.products.column("category").to_pylist()], object)


def _within(labels: AnyArray, vectors: Float32Array) -> dict[str, Float64Array]:
    relevant = relevant_counts(labels, labels, leave_one_out=True)
    found, _ = exact_neighbours(vectors, vectors, int(relevant.max()) + 1)
    near = labels[drop_self(found, np.arange(len(found)), found)]
    return {
        "map_at_r": average_precisions_at_r(labels, near, relevant),
        "r_precision": r_precisions(labels, near, relevant),
    }
