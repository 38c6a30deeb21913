from __future__ import annotations

import pytest

from recsim_tasks.learning.training.schedule import (
    learning_rate,
    pair_loss_ramp,
    round_boundaries,
    scale_learning_rate,
)


def test_the_rate_warms_up_and_comes_down() -> None:
    rates = [learning_rate(step, 1_000, 0.003) for step in range(1_000)]
    assert rates[0] < 0.0001
    assert max(rates) == pytest.approx(0.003)
    assert rates[:50] == sorted(rates[:50])
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert 0 < rates[-1] < 0.0001


def test_the_rate_scales_with_the_square_root_of_the_global_batch() -> None:
    assert scale_learning_rate(0.003, 128) == 0.003
    assert scale_learning_rate(0.003, 512) == 0.006


def test_the_pair_loss_ramps_up() -> None:
    assert pair_loss_ramp(0, 100) == 0
    assert 0 < pair_loss_ramp(15, 100) < 1
    assert pair_loss_ramp(30, 100) == pair_loss_ramp(100, 100) == 1


def test_rounds_are_of_similar_length_and_the_last_ends_with_the_training() -> None:
    assert round_boundaries(100, 8) == [13, 25, 38, 50, 63, 75, 88, 100]
    assert round_boundaries(5, 5) == [1, 2, 3, 4, 5]
