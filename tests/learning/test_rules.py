from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.foundation.errors import InputError, RecsimError
from recsim_tasks.learning.hyperparameters import CHOICES, RANGES, Parameters
from recsim_tasks.learning.training.divergence import refuse_collapsed, refuse_nonsense, spread
from recsim_tasks.learning.training.schedule import learning_rate, pair_share, round_ends, scaled


def test_the_spread_tells_one_place_from_all_directions() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5_000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert spread(vectors) > 0.99
    assert spread(np.repeat(vectors[:1], 100, axis=0)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_collapsed_model_is_refused_with_what_to_do(value: float) -> None:
    with pytest.raises(RecsimError, match=r"collapsed: after 4,096 images .* lower learning_rate"):
        refuse_collapsed(value, 2.0, 64, 4_096)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_training_with_what_to_do(loss: float) -> None:
    with pytest.raises(RecsimError, match=rf"The loss is {loss} after 640 images.*lower learning_rate"):
        refuse_nonsense(loss, 640)
    refuse_nonsense(2.0, 640)


def test_a_healthy_model_goes_on() -> None:
    refuse_collapsed(0.7, 2.0, 64, 4_096)


def test_the_spread_of_the_first_steps_says_nothing() -> None:
    refuse_collapsed(0.01, 2.0, 6, 768)


def test_the_rate_warms_up_and_comes_down() -> None:
    rates = [learning_rate(step, 1_000, 0.003) for step in range(1_000)]
    assert rates[0] < 0.0001
    assert max(rates) == pytest.approx(0.003)
    assert rates[:50] == sorted(rates[:50])
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert 0 < rates[-1] < 0.0001


def test_the_rate_follows_the_root_of_the_batch_of_all_ranks() -> None:
    assert scaled(0.003, 128) == 0.003
    assert scaled(0.003, 512) == 0.006


def test_pairs_count_fully_only_once_categories_are_apart() -> None:
    assert pair_share(0, 100) == 0
    assert 0 < pair_share(15, 100) < 1
    assert pair_share(30, 100) == pair_share(100, 100) == 1


def test_rounds_are_of_like_length_and_the_last_ends_with_the_training() -> None:
    assert round_ends(100, 8) == [13, 25, 38, 50, 63, 75, 88, 100]
    assert round_ends(5, 5) == [1, 2, 3, 4, 5]


def test_the_known_good_hyperparameters_lie_inside_the_search_space() -> None:
    known = Parameters().as_json()
    assert all(low <= known[name] <= high for name, (low, high) in RANGES.items())  # type: ignore[operator]
    assert all(known[name] in choices for name, choices in CHOICES.items())
    assert set(known) == {*RANGES, *CHOICES}
    assert Parameters.of({}) == Parameters()


@pytest.mark.parametrize(
    "values",
    [
        {"learning_rat": 0.1},
        {"learning_rate": "fast"},
        {"learning_rate": -1},
        {"proxy_scale": float("nan")},
        {"pair_weight": True},
        {"pair_loss": "hinge"},
    ],
)
def test_wrong_hyperparameters_are_refused_by_name(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        Parameters.of(values)
