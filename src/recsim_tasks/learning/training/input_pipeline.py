"""From a dataset to batches, in `tf.data`; prefetched while the network trains on the batch before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from recsim_tasks.arrays import Int64Array, UInt8Array
from recsim_tasks.learning.data.augmentation import augment
from recsim_tasks.learning.data.dataset import ImageDataset
from recsim_tasks.learning.data.sampler import balanced_batches
from recsim_tasks.learning.tensorflow_runtime import tensorflow

PREFETCHED_BATCHES = 4
# Independent streams of random numbers.
SAMPLING, AUGMENTATION = 0, 1


@dataclass(frozen=True)
class BatchPlan:
    """Which batches one rank trains on; the same plan gives the same batches, so that it can resume."""

    size: int
    seed: int
    rank: int = 0
    skip: int = 0
    """Batches at the start that an earlier run has used."""
    cutout: bool = True
    """See `augment`."""


def training_batches(dataset: ImageDataset, plan: BatchPlan) -> Any:
    """An endless `tf.data.Dataset` of balanced, augmented images uint8 [n, h, w, c] and labels int64 [n]."""
    tf = tensorflow()

    def generate() -> Iterator[tuple[UInt8Array, Int64Array]]:
        batches = balanced_batches(
            dataset.labels, plan.size, np.random.default_rng([plan.seed, plan.rank, SAMPLING])
        )
        for step, rows in enumerate(islice(batches, plan.skip, None), plan.skip):
            rng = np.random.default_rng([plan.seed, plan.rank, AUGMENTATION, step])
            yield augment(dataset.read(rows), rng, cutout=plan.cutout), dataset.labels[rows]

    shape = [None, *dataset.read(np.array([0])).shape[1:]]
    signature = (tf.TensorSpec(shape, tf.uint8), tf.TensorSpec([None], tf.int64))
    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(PREFETCHED_BATCHES)
