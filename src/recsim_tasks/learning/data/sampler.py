"""Class-balanced batches: K images of each of P categories, so that all have positives and negatives."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from recsim_tasks.arrays import Int64Array

MIN_IMAGES_PER_CATEGORY = 4


def batch_shape(labels: Int64Array, size: int) -> tuple[int, int]:
    """P categories and K images of each, for a batch of at most `size`: K = size / P, at least 4."""
    categories = max(1, min(len(np.unique(labels)), size // MIN_IMAGES_PER_CATEGORY))
    return categories, max(1, size // categories)


def balanced_batches(labels: Int64Array, size: int, rng: np.random.Generator) -> Iterator[Int64Array]:
    """Endless batches of row numbers into `labels` [n]; each has the P x K rows of `batch_shape`.

    All images of a category come once, shuffled, before one comes again; so do the categories.
    """
    rows_of = [_endless(np.flatnonzero(labels == label), rng) for label in np.unique(labels)]
    categories, images_per_category = batch_shape(labels, size)
    turns = _endless(np.arange(len(rows_of)), rng)
    while True:
        chosen = list(islice(turns, categories))
        yield np.array(
            [next(rows_of[category]) for category in chosen for _ in range(images_per_category)], np.int64
        )


def _endless(values: Int64Array, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(values).tolist()
