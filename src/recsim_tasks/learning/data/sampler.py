"""Class-balanced batches: of P categories K images each, so that every image finds partners and opponents."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recsim_tasks.arrays import Int64Array

LEAST_PER_CATEGORY = 4


def shape_of(labels: Int64Array, size: int) -> tuple[int, int]:
    """P categories and K images of each in a batch of at most `size`: K = size / P, which is at least 4."""
    categories = max(1, min(len(np.unique(labels)), size // LEAST_PER_CATEGORY))
    return categories, max(1, size // categories)


def balanced_batches(labels: Int64Array, size: int, rng: np.random.Generator) -> Iterator[Int64Array]:
    """Endless batches of row numbers into `labels` [n]; all of one length, P x K, as `shape_of` has it.

    A category's images all come once, shuffled, before one comes again; so do the categories.
    """
    rows_of = [_endless(np.flatnonzero(labels == label), rng) for label in np.unique(labels)]
    categories, each = shape_of(labels, size)
    chosen = _endless(np.arange(len(rows_of)), rng)
    while True:
        yield np.array(
            [next(rows_of[category]) for category in _take(chosen, categories) for _ in range(each)], np.int64
        )


def _take(values: Iterator[int], count: int) -> list[int]:
    return [next(values) for _ in range(count)]


def _endless(values: Int64Array, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(values).tolist()
