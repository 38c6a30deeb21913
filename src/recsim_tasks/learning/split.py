"""Which products a model learns from, is tuned on, is judged on: decided by the image alone."""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "validation", "test"]
TEST_SHARE = 0.05
VALIDATION_SHARE = 0.05


def split_of(image_hash: str) -> Split:
    """Tell the split of an image by its SHA-256 (hexadecimal): 90 % train, 5 % validation, 5 % test.

    It stays the same for good, whatever is added or taken away, and a relisted image cannot leak from test into train.
    """
    place = int(image_hash[:16], 16) / 2**64
    if place < TEST_SHARE:
        return "test"
    return "validation" if place < TEST_SHARE + VALIDATION_SHARE else "train"
