from __future__ import annotations

import pytest

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.learning.hyperparameters import CHOICES, RANGES, Hyperparameters


def test_the_defaults_lie_inside_the_search_space() -> None:
    defaults = Hyperparameters().as_json()
    assert all(low <= defaults[name] <= high for name, (low, high) in RANGES.items())  # type: ignore[operator]
    assert all(defaults[name] in choices for name, choices in CHOICES.items())
    assert set(defaults) == {*RANGES, *CHOICES}
    assert Hyperparameters.parse({}) == Hyperparameters()


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
        Hyperparameters.parse(values)
