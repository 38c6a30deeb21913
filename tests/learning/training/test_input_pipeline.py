from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recsim_tasks.learning.training.input_pipeline import BatchPlan, training_batches

if TYPE_CHECKING:
    from recsim_tasks.arrays import Int64Array, UInt8Array
    from recsim_tasks.learning.training.training_data import TrainingData

pytestmark = pytest.mark.ml

PLAN = BatchPlan(60, seed=20)


def batches(training_data: TrainingData, plan: BatchPlan, count: int) -> list[tuple[UInt8Array, Int64Array]]:
    dataset = training_batches(training_data.train, plan)
    return [(images.numpy(), labels.numpy()) for images, labels in islice(dataset, count)]


def test_a_resumed_training_gets_the_batches_that_are_left(training_data: TrainingData) -> None:
    whole, rest = batches(training_data, PLAN, 5), batches(training_data, replace(PLAN, skip=3), 2)
    for (images, labels), (expected_images, expected_labels) in zip(rest, whole[3:], strict=True):
        assert np.array_equal(images, expected_images)
        assert np.array_equal(labels, expected_labels)


def test_ranks_get_different_batches(training_data: TrainingData) -> None:
    ((one, _),), ((other, _),) = (batches(training_data, replace(PLAN, rank=rank), 1) for rank in (0, 1))
    assert not np.array_equal(one, other)
