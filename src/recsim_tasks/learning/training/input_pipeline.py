"""From examples to batches, in `tf.data`, prepared while the model learns from the batch before."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from recsim_tasks.arrays import Int64Array, UInt8Array
from recsim_tasks.learning.data.augmentation import augment
from recsim_tasks.learning.data.dataset import Examples
from recsim_tasks.learning.data.sampler import balanced_batches
from recsim_tasks.learning.tensorflow_runtime import tensorflow

AHEAD = 4
# Streams of random numbers, apart from each other.
ROWS, CHANGES = 0, 1


def batches(examples: Examples, size: int, seed: int, rank: int, done: int = 0, holes: bool = True) -> Any:
    """A `tf.data.Dataset` of uint8 [n, h, w, c] and labels int64 [n], without end: balanced, augmented (with `holes` or without), the first `done` left out.

    What comes is decided by seed and rank, so that a training that goes on sees what it would have seen.
    """
    tf = tensorflow()

    def made() -> Iterator[tuple[UInt8Array, Int64Array]]:
        rows = balanced_batches(examples.labels, size, np.random.default_rng([seed, rank, ROWS]))
        for step, chosen in enumerate(islice(rows, done, None), done):
            changes = np.random.default_rng([seed, rank, CHANGES, step])
            yield augment(examples.read(chosen), changes, holes), examples.labels[chosen]

    shape = [None, *examples.read(np.array([0])).shape[1:]]
    signature = (tf.TensorSpec(shape, tf.uint8), tf.TensorSpec([None], tf.int64))
    return tf.data.Dataset.from_generator(made, output_signature=signature).prefetch(AHEAD)
