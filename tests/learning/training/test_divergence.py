from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.learning.training.divergence import check_loss_is_finite, check_not_collapsed, spread


def test_the_spread_is_zero_in_one_point_and_one_in_all_directions() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5_000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert spread(vectors) > 0.99
    assert spread(np.repeat(vectors[:1], 100, axis=0)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_collapsed_model_is_refused_with_what_to_do(value: float) -> None:
    with pytest.raises(RecsimError, match=r"collapsed: after 4,096 images .* lower learning_rate"):
        check_not_collapsed(value, 2.0, steps=64, images=4_096)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training(loss: float) -> None:
    with pytest.raises(RecsimError, match=rf"the loss is {loss} after 640 images.*lower learning_rate"):
        check_loss_is_finite(loss, 640)
    check_loss_is_finite(2.0, 640)


def test_a_healthy_model_passes() -> None:
    check_not_collapsed(0.7, 2.0, steps=64, images=4_096)


def test_the_spread_of_the_first_steps_is_ignored() -> None:
    check_not_collapsed(0.01, 2.0, steps=6, images=768)
