"""Recognise copies of one image, recompressed or resized, by thumbnails of 7 x 7 pixels in colour.

Embeddings cannot: an encoder is trained to ignore what makes two products of one kind different. `make
bench-distinct` measures how many copies are found, and how many different products are taken for copies
(docs/vectors.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.arrays import BoolArray, UInt8Array

if TYPE_CHECKING:
    from PIL import Image

SIDE = 7
THUMBNAIL_BYTES = SIDE * SIDE * 3
# Two images are copies when their thumbnails differ by no more than this, in levels of 0 to 255: the root
# mean square of all values, and any one value. The second limit separates products that differ in one place,
# such as in a print.
MEAN_DIFFERENCE, LARGEST_DIFFERENCE = 4.0, 14
# Pillow first reduces a large image by whole pixels, to at least this many times the thumbnail's size: five
# times faster, with hardly any difference in the result.
REDUCING_GAP = 32.0


def thumbnail(image: Image.Image) -> bytes:
    """Reduce an image of mode `L` or `RGB` to its thumbnail: RGB pixels, row by row, 147 bytes.

    The Lanczos filter keeps what a small and a large copy have in common, and hardly anything else.
    """
    from PIL import Image

    small = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    return small.convert("RGB").tobytes()


def distinct_mask(thumbnails: UInt8Array, k: int) -> BoolArray:
    """Mark the first k of `thumbnails` uint8 [w, 147], best first, that are no copies of one marked before.

    A thumbnail of zeros stands for an unknown one, which is a copy of no other.
    """
    # Products and sums of integers below 2^24 are exact in float32, in whatever order a matrix product adds
    # them.
    values = thumbnails.astype(np.float32)
    squares = np.einsum("wb,wb->w", values, values).astype(np.float64)
    kept, remaining = np.zeros(len(values), bool), np.ones(len(values), bool)
    for _ in range(min(k, len(values))):
        first = int(remaining.argmax())
        if not remaining[first]:
            break
        kept[first], remaining[first] = True, False
        distances = squares + squares[first] - 2 * (values @ values[first])
        near = np.flatnonzero(remaining & (distances <= MEAN_DIFFERENCE**2 * THUMBNAIL_BYTES))
        if len(near) and squares[first]:
            copies = np.abs(values[near] - values[first]).max(axis=1) <= LARGEST_DIFFERENCE
            remaining[near[copies & (squares[near] > 0)]] = False
    return kept
