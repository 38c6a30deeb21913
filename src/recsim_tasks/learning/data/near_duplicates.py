"""Finds training images that nearly equal an evaluation image: the same image, recompressed or resized.

The signatures here are not `vectors.thumbnails`, and cannot be. An image and its grey copy must match here,
so the signatures are grey; they are compared by one Euclidean distance, which an index searches over all
pairs. A shop window must distinguish products that differ in colour or in one spot, so thumbnails are in
colour and have a second limit per pixel.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from recsim_tasks.arrays import BoolArray, Float32Array, UInt8Array

SIDE = 8
# Root mean square of the differences, in grey levels. Fashion-MNIST's images differ by less than 4 from
# themselves after JPEG at quality 50 or a resize to twice the side and back (99 of 100), and one in 10,000
# from another image.
MAX_RMS_DIFFERENCE = 4.0


def grey_signature(image: UInt8Array) -> Float32Array:
    """The means of 8 x 8 fields of the grey copy of `image`, uint8 [h, w, c]; float32 [64]."""
    grey = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).ravel()


def has_near_duplicate(signatures: Float32Array, others: Float32Array) -> BoolArray:
    """Which of `signatures` [n, 64] nearly equal one of `others` [m, 64]; exact, n x m comparisons."""
    import faiss

    if not len(signatures) or not len(others):
        return np.zeros(len(signatures), bool)
    index = faiss.IndexFlatL2(SIDE * SIDE)
    index.add(np.ascontiguousarray(others))
    squares, _ = index.search(np.ascontiguousarray(signatures), 1)
    return np.asarray(squares[:, 0] < MAX_RMS_DIFFERENCE**2 * SIDE * SIDE)
