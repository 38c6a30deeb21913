from __future__ import annotations

import hashlib

import numpy as np

from recsim_tasks.learning.data.shards import RANK, SHARE, lots, places, ranks_of


def hashes(count: int) -> list[str]:
    return [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)]


def test_shards_are_of_like_size_and_each_image_is_in_one() -> None:
    _, keys = places(hashes(9_000))
    ranks = ranks_of(keys, 20, 3)
    assert np.abs(np.bincount(ranks, minlength=3) - 3_000).max() < 200
    assert len(ranks) == 9_000


def test_lots_are_spread_evenly_and_stay_the_same() -> None:
    _, keys = places(hashes(20_000))
    drawn = lots(keys, SHARE, 20)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert np.abs(np.histogram(drawn, 10, (0, 1))[0] - 2_000).max() < 200
    assert np.array_equal(drawn[:100], lots(keys[:100], SHARE, 20))


def test_purposes_seeds_and_the_split_draw_independently() -> None:
    where, keys = places(hashes(20_000))
    draws = [where, lots(keys, SHARE, 1), lots(keys, RANK, 1), lots(keys, SHARE, 2)]
    correlations = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlations).max() < 0.03


def test_no_hashes_are_no_places() -> None:
    where, keys = places([])
    assert len(where) == len(keys) == 0
