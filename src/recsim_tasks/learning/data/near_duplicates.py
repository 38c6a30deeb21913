"""Find training images that are all but the same as one that quality is measured on: recompressed, resized."""

from __future__ import annotations

import numpy as np
from PIL import Image

from recsim_tasks.arrays import BoolArray, Float32Array, UInt8Array

SIDE = 8
# Root mean square of the differences, grey levels. Fashion-MNIST's images differ by less than 4 from themselves after JPEG at
# quality 50 or a resize to twice the side and back (99 of 100), and one in 10,000 does from another image.
NEAR = 4.0


def thumbnail(image: UInt8Array) -> Float32Array:
    """An image, uint8 [h, w, c], as the means of 8 x 8 fields of its grey copy, float32 [64]."""
    grey = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).ravel()


def near_any(thumbnails: Float32Array, others: Float32Array) -> BoolArray:
    """Which of `thumbnails` [n, 64] are nearly the same as one of `others` [m, 64]; an exact search, n x m x 64 multiplications."""
    import faiss

    if not len(thumbnails) or not len(others):
        return np.zeros(len(thumbnails), bool)
    index = faiss.IndexFlatL2(SIDE * SIDE)
    index.add(np.ascontiguousarray(others))
    squares, _ = index.search(np.ascontiguousarray(thumbnails), 1)
    return np.asarray(squares[:, 0] < NEAR**2 * SIDE * SIDE)
