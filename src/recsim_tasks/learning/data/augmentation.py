"""Make a batch of images differ a little each time it is seen: mirrored, shifted, partly covered."""

from __future__ import annotations

import numpy as np

from recsim_tasks.arrays import UInt8Array

SHIFT_SHARE = 2 / 28
HOLE_SHARE = 0.25
HOLE_PROBABILITY = 0.5


def augment(images: UInt8Array, rng: np.random.Generator, holes: bool = True) -> UInt8Array:
    """Return a changed copy of `images`, uint8 [n, h, w, c].

    With `holes` a square of half of them is covered. The covered square follows T. DeVries and G. W. Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout" (2017,
    https://arxiv.org/abs/1708.04552), filled with the image's mean instead of zero: product photographs are white as often as black.
    """
    moved = _shift_and_mirror(images, rng)
    return _cover(moved, rng) if holes else moved


def _shift_and_mirror(images: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Shift by up to `SHIFT_SHARE` of the side, the border pixel repeated; mirror every second image."""
    count, height, width, _ = images.shape
    rows = _shifted(count, height, rng)
    columns = _shifted(count, width, rng)
    mirrored = rng.random(count) < 0.5
    columns[mirrored] = columns[mirrored, ::-1]
    moved: UInt8Array = images[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved


def _shifted(
    count: int, side: int, rng: np.random.Generator
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    reach = max(1, round(side * SHIFT_SHARE))
    by = rng.integers(-reach, reach + 1, count)
    return np.clip(np.arange(side)[None, :] + by[:, None], 0, side - 1)


def _cover(images: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    height, width = images.shape[1:3]
    hole = max(1, round(min(height, width) * HOLE_SHARE))
    for row in np.flatnonzero(rng.random(len(images)) < HOLE_PROBABILITY):
        top, left = rng.integers(0, height - hole + 1), rng.integers(0, width - hole + 1)
        images[row, top : top + hole, left : left + hole] = images[row].mean(axis=(0, 1))
    return images
