"""Notice early that a model maps everything to one place. Pure."""

from __future__ import annotations

import math

import numpy as np

from recsim_tasks.arrays import Float32Array
from recsim_tasks.foundation.errors import RecsimError

LEAST_SPREAD = 0.05
# By then batch normalisation's running statistics, 0.9 of them kept a step, have forgotten where they started; the spread before says nothing.
SETTLED_STEPS = 50


def spread(embeddings: Float32Array) -> float:
    """Total variance of unit vectors [n, d]: 1 - |mean|^2. 0: all the same; near 1: in all directions."""
    mean = embeddings.astype(np.float64).mean(axis=0)
    return float(1.0 - mean @ mean)


def refuse_collapsed(spread: float, loss: float, steps: int, images: int) -> None:
    """Raise `RecsimError` when the embeddings have no spread (from 50 steps on), or that is no number."""
    if math.isfinite(spread) and (spread >= LEAST_SPREAD or steps < SETTLED_STEPS):
        return
    raise RecsimError(
        f"The model collapsed: after {images:,} images its embeddings have a spread of {spread:.4f} (at least {LEAST_SPREAD} is needed) and the loss is {loss:.4f}. "
        "Nothing was written. Train with a lower learning_rate, or run `recsim tune` again."
    )


def refuse_nonsense(loss: float, images: int) -> None:
    """Raise `RecsimError` when the loss is no finite number."""
    if not math.isfinite(loss):
        raise RecsimError(
            f"The loss is {loss} after {images:,} images: training has come apart. Nothing was written. "
            "Train with a lower learning_rate, or run `recsim tune` again."
        )
