"""Tell copies of one image, recompressed or resized, from images of different products: by thumbnails of 7 x 7 pixels in colour.

Embeddings do not tell them apart: an encoder is trained to overlook what makes two products of a kind different. How many copies are
found, and how many different products are taken for copies, is measured by `make bench-distinct` (docs/vectors.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.arrays import BoolArray, UInt8Array

if TYPE_CHECKING:
    from PIL import Image

SIDE = 7
BYTES = SIDE * SIDE * 3
# Two images are copies when their thumbnails differ by no more than this, in levels of 0 to 255: the root mean square of all values,
# and any one value. The second limit keeps apart products that differ in one place, such as in a print.
MEAN_DIFFERENCE, LARGEST_DIFFERENCE = 4.0, 14
# A large image is first reduced by whole pixels, to no less than so many times the thumbnail: five times faster, and hardly another result.
REDUCED_TO = 32.0


def thumbnail(image: Image.Image) -> bytes:
    """Reduce an image of mode `L` or `RGB` to its thumbnail: pixels in RGB, row by row, 147 bytes.

    Lanczos' filter passes what a small and a large copy have in common, and hardly anything else.
    """
    from PIL import Image

    return (
        image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=REDUCED_TO).convert("RGB").tobytes()
    )


def first_of_copies(thumbnails: UInt8Array, k: int) -> BoolArray:
    """Keep the first k of `thumbnails` uint8 [w, 147], best first, that are not copies of one that was kept before.

    A thumbnail of zeros means that none is known: it is not a copy of any other.
    """
    # Sums of products of whole numbers below 2^24: exact in float32, in whatever order a matrix product adds them up.
    values = thumbnails.astype(np.float32)
    squares = np.einsum("wb,wb->w", values, values).astype(np.float64)
    kept, left = np.zeros(len(values), bool), np.ones(len(values), bool)
    for _ in range(min(k, len(values))):
        first = int(left.argmax())
        if not left[first]:
            break
        kept[first], left[first] = True, False
        apart = squares + squares[first] - 2 * (values @ values[first])
        near = np.flatnonzero(left & (apart <= MEAN_DIFFERENCE**2 * BYTES))
        if len(near) and squares[first]:
            alike = np.abs(values[near] - values[first]).max(axis=1) <= LARGEST_DIFFERENCE
            left[near[alike & (squares[near] > 0)]] = False
    return kept
