from __future__ import annotations

import hashlib

import numpy as np

from recsim_tasks.learning.data.shards import (
    RANK,
    SUBSAMPLE,
    assigned_ranks,
    fractions_and_keys,
    uniform_draws,
)


def hashes(count: int) -> list[str]:
    return [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)]


def test_shards_are_of_similar_size_and_each_image_is_in_one() -> None:
    _, keys = fractions_and_keys(hashes(9_000))
    ranks = assigned_ranks(keys, 20, 3)
    assert np.abs(np.bincount(ranks, minlength=3) - 3_000).max() < 200
    assert len(ranks) == 9_000


def test_draws_are_uniform_and_reproducible() -> None:
    _, keys = fractions_and_keys(hashes(20_000))
    drawn = uniform_draws(keys, SUBSAMPLE, 20)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert np.abs(np.histogram(drawn, 10, (0, 1))[0] - 2_000).max() < 200
    assert np.array_equal(drawn[:100], uniform_draws(keys[:100], SUBSAMPLE, 20))


def test_purposes_seeds_and_the_split_draw_independently() -> None:
    fractions, keys = fractions_and_keys(hashes(20_000))
    draws = [
        fractions,
        uniform_draws(keys, SUBSAMPLE, 1),
        uniform_draws(keys, RANK, 1),
        uniform_draws(keys, SUBSAMPLE, 2),
    ]
    correlations = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlations).max() < 0.03


def test_no_hashes_give_empty_arrays() -> None:
    fractions, keys = fractions_and_keys([])
    assert len(fractions) == len(keys) == 0
