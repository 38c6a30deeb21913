"""Early detection of a training that diverges or maps everything to one point. Pure."""

from __future__ import annotations

import math

import numpy as np

from recsim_tasks.arrays import Float32Array
from recsim_tasks.foundation.errors import RecsimError

MIN_SPREAD = 0.05
# By then batch normalisation's running statistics, of which each step keeps 0.9, no longer depend on their
# initial values; before, the spread has no meaning.
SETTLED_STEPS = 50


def spread(embeddings: Float32Array) -> float:
    """Total variance of unit vectors [n, d]: 1 - |mean|^2. 0: all equal; near 1: in all directions."""
    mean = embeddings.astype(np.float64).mean(axis=0)
    return float(1.0 - mean @ mean)


def check_not_collapsed(spread: float, loss: float, *, steps: int, images: int) -> None:
    """Raise `RecsimError` when the spread of the embeddings is too small, from 50 steps on, or not finite."""
    if math.isfinite(spread) and (spread >= MIN_SPREAD or steps < SETTLED_STEPS):
        return
    raise RecsimError(
        f"The model collapsed: after {images:,} images its embeddings have a spread of {spread:.4f} (at "
        f"least {MIN_SPREAD} is needed) and the loss is {loss:.4f}. Nothing was written. Train with a lower "
        "learning_rate, or run `recsim tune` again."
    )


def check_loss_is_finite(loss: float, images: int) -> None:
    """Raise `RecsimError` when the loss is not a finite number."""
    if not math.isfinite(loss):
        raise RecsimError(
            f"The training diverged: the loss is {loss} after {images:,} images. Nothing was written. "
            "Train with a lower learning_rate, or run `recsim tune` again."
        )
