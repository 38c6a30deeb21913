from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest

from recsim_tasks.learning.data.sampler import balanced_batches, batch_shape


def test_every_batch_has_the_same_number_of_images_of_each_category() -> None:
    labels = np.array([0] * 500 + [1] * 40 + [2] * 7)
    for rows in islice(balanced_batches(labels, 60, np.random.default_rng(0)), 20):
        assert np.bincount(labels[rows]).tolist() == [20, 20, 20]


def test_an_image_comes_again_only_after_all_of_its_category() -> None:
    labels = np.array([0] * 30 + [1] * 30)
    rows = np.concatenate(list(islice(balanced_batches(labels, 20, np.random.default_rng(0)), 3)))
    assert sorted(rows.tolist()) == list(range(60))


def test_with_many_categories_a_batch_holds_some_of_them_and_all_get_their_turn() -> None:
    labels = np.repeat(np.arange(100), 3)
    seen = set()
    for rows in islice(balanced_batches(labels, 64, np.random.default_rng(0)), 7):
        names, counts = np.unique(labels[rows], return_counts=True)
        assert len(rows) == 64
        assert counts.min() >= 4
        seen |= set(names.tolist())
    assert seen == set(range(100))


def test_the_same_seed_gives_the_same_batches() -> None:
    labels = np.arange(50) % 5
    first, again = (
        [rows.tolist() for rows in islice(balanced_batches(labels, 20, np.random.default_rng(3)), 5)]
        for _ in range(2)
    )
    assert first == again


@pytest.mark.parametrize(
    ("categories", "size", "images"),
    [(10, 64, 60), (10, 256, 250), (10, 1024, 1020), (3, 64, 63), (100, 64, 64), (2, 5, 5)],
)
def test_a_batch_holds_as_many_images_as_its_shape_says(categories: int, size: int, images: int) -> None:
    labels = np.repeat(np.arange(categories), 50)
    shape = batch_shape(labels, size)
    assert math.prod(shape) == len(next(balanced_batches(labels, size, np.random.default_rng(0)))) == images
