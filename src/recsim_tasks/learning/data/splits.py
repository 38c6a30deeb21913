"""The split of an image: train, validation or test. Decided by the image alone."""

from __future__ import annotations

from typing import Literal

import numpy as np

from recsim_tasks.arrays import AnyArray, Float64Array
from recsim_tasks.learning.data.shards import fractions_and_keys

Split = Literal["train", "validation", "test"]
TEST_SHARE = 0.05
VALIDATION_SHARE = 0.05


def split_of(image_hash: str) -> Split:
    """The split of an image by its SHA-256 (hexadecimal): 90% train, 5% validation, 5% test.

    It never changes, whatever the catalogue gains or loses, so that a relisted image cannot leak from test
    into train.
    """
    split: Split = splits_of(fractions_and_keys([image_hash])[0])[0]
    return split


def splits_of(fractions: Float64Array) -> AnyArray:
    """The splits of many images by their `fractions` [n], the first result of `shards.fractions_and_keys`."""
    return np.select(
        [fractions < TEST_SHARE, fractions < TEST_SHARE + VALIDATION_SHARE], ["test", "validation"], "train"
    )
