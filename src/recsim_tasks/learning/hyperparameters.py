"""The hyperparameters of a training: each with its default and the range that a search stays in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from recsim_tasks.foundation.errors import InputError

# Narrow ranges around the defaults, so that a short search cannot stray far. Not every corner was trained in
# full.
RANGES = {
    "learning_rate": (1.5e-3, 5e-3),
    "pair_weight": (0.1, 1.0),
    "proxy_scale": (12.0, 24.0),
    "proxy_margin": (0.0, 0.2),
}
CHOICES = {"pair_loss": ("supcon", "multi_similarity", "circle", "none")}
Value = float | str


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of one training; `pair_loss` is added to the proxy loss, `none` adds nothing."""

    learning_rate: float = 3e-3
    pair_loss: str = "supcon"
    pair_weight: float = 0.5
    proxy_scale: float = 16.0
    proxy_margin: float = 0.1

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Hyperparameters:
        """Override the defaults with `values`; `InputError` for an unknown name or an impossible value."""
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise InputError(
                f"Unknown hyperparameter {', '.join(unknown)}; known are {', '.join(known)}. "
                "Correct the name, or run `recsim tune` again."
            )
        return cls(**{name: _validated(name, value) for name, value in values.items()})

    def as_json(self) -> dict[str, Value]:
        """The form that results, model.json and MLflow carry."""
        return asdict(self)


def _validated(name: str, value: object) -> Any:
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise InputError(
                f"Hyperparameter {name} is {value!r}, but must be one of {', '.join(CHOICES[name])}. "
                "Correct it, or run `recsim tune` again."
            )
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise InputError(
            f"Hyperparameter {name} is {value!r}, but must be a number of at least 0. "
            "Correct it, or run `recsim tune` again."
        )
    return float(value)
