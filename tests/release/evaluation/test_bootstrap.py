from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.release.evaluation.bootstrap import interval, interval_between


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(0.3, 2.0, 4_000)
    estimate = interval(values)
    error = values.std() / np.sqrt(len(values))
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - 1.96 * error, abs=error / 5)
    assert estimate.high == pytest.approx(values.mean() + 1.96 * error, abs=error / 5)


def test_about_five_of_a_hundred_samples_without_a_difference_seem_to_have_one() -> None:
    rng = np.random.default_rng(1)
    intervals = [interval(rng.choice([-1.0, 0.0, 0.0, 1.0], 200)) for _ in range(300)]
    missed = sum(not low <= 0 <= high for _, low, high in intervals)
    assert 5 <= missed <= 30


def test_the_same_values_give_the_same_interval() -> None:
    values = np.random.default_rng(2).random(50)
    assert interval(values) == interval(values)


def test_pairing_sees_what_two_samples_side_by_side_do_not() -> None:
    rng = np.random.default_rng(3)
    one = rng.random(300)
    other = one - 0.02
    assert interval(one - other).low > 0.019
    assert interval_between(one, other).low < 0 < interval_between(one, other).high


def test_a_higher_level_is_a_wider_interval() -> None:
    values = np.random.default_rng(4).random(100)
    wide, narrow = interval(values, 0.99), interval(values, 0.9)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_nan_is_ignored_and_nothing_gives_nan() -> None:
    assert interval(np.array([1.0, np.nan, 1.0])) == (1.0, 1.0, 1.0)
    assert np.isnan(interval(np.array([np.nan]))).all()
    assert np.isnan(interval_between(np.array([]), np.array([1.0]))).all()
