"""Notice early that a model maps everything to one place. Pure."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from recsim_tasks.foundation.errors import RecsimError

LEAST_SPREAD = 0.05


def spread(embeddings: npt.NDArray[np.float32]) -> float:
    """Total variance of unit vectors [n, d]: 1 - |mean|^2. 0: all the same; near 1: in all directions."""
    mean = embeddings.astype(np.float64).mean(axis=0)
    return float(1.0 - mean @ mean)


def refuse_collapsed(spread: float, loss: float, images: int) -> None:
    """Raise `RecsimError` when the embeddings have no spread, or the loss is no number, after `images` images."""
    if math.isfinite(loss) and math.isfinite(spread) and spread >= LEAST_SPREAD:
        return
    raise RecsimError(
        f"The model collapsed: after {images:,} images its embeddings have a spread of {spread:.4f} (at least {LEAST_SPREAD} is needed) and the loss is {loss:.4f}. "
        "Nothing was written. Train with a lower learning_rate, or run `recsim tune` again."
    )
