"""Which images a model learns from, is tuned on, is judged on: decided by the image alone."""

from __future__ import annotations

from typing import Literal

import numpy as np

from recsim_tasks.arrays import AnyArray, Float64Array
from recsim_tasks.learning.data.shards import places

Split = Literal["train", "validation", "test"]
TEST_SHARE = 0.05
VALIDATION_SHARE = 0.05


def split_of(image_hash: str) -> Split:
    """Tell the split of an image by its SHA-256 (hexadecimal): 90 % train, 5 % validation, 5 % test.

    It stays the same for good, whatever is added or taken away, and a relisted image cannot leak from test into train.
    """
    split: Split = splits_of(places([image_hash])[0])[0]
    return split


def splits_of(where: Float64Array) -> AnyArray:
    """Tell the splits of many images by what `shards.places` says of them [n]."""
    return np.select(
        [where < TEST_SHARE, where < TEST_SHARE + VALIDATION_SHARE], ["test", "validation"], "train"
    )
