"""Random changes of training images: mirrored, shifted, partly covered (cutout)."""

from __future__ import annotations

import numpy as np

from recsim_tasks.arrays import Int64Array, UInt8Array

SHIFT_SHARE = 2 / 28
CUTOUT_SIDE_SHARE = 0.25
CUTOUT_PROBABILITY = 0.5


def augment(images: UInt8Array, rng: np.random.Generator, *, cutout: bool = True) -> UInt8Array:
    """Return a changed copy of `images`, uint8 [n, h, w, c].

    With `cutout`, a square of every second image is covered, after T. DeVries and G. W. Taylor, "Improved
    Regularization of Convolutional Neural Networks with Cutout" (2017, https://arxiv.org/abs/1708.04552);
    here by the image's mean instead of zero, because product photographs are white as often as black.
    """
    moved = _shift_and_mirror(images, rng)
    return _cut_out(moved, rng) if cutout else moved


def _shift_and_mirror(images: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Shift by up to `SHIFT_SHARE` of the side, repeating the border pixel; mirror every second image."""
    count, height, width, _ = images.shape
    rows = _shifted(count, height, rng)
    columns = _shifted(count, width, rng)
    mirrored = rng.random(count) < 0.5
    columns[mirrored] = columns[mirrored, ::-1]
    moved: UInt8Array = images[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved


def _shifted(count: int, side: int, rng: np.random.Generator) -> Int64Array:
    reach = max(1, round(side * SHIFT_SHARE))
    offsets = rng.integers(-reach, reach + 1, count)
    return np.clip(np.arange(side)[None, :] + offsets[:, None], 0, side - 1)


def _cut_out(images: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    height, width = images.shape[1:3]
    hole = max(1, round(min(height, width) * CUTOUT_SIDE_SHARE))
    for row in np.flatnonzero(rng.random(len(images)) < CUTOUT_PROBABILITY):
        top, left = rng.integers(0, height - hole + 1), rng.integers(0, width - hole + 1)
        images[row, top : top + hole, left : left + hole] = images[row].mean(axis=(0, 1))
    return images
