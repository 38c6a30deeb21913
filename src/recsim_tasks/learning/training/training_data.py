"""One rank's share of the images of a training."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.learning.data.dataset import (
    ImageDataset,
    Subset,
    load_images,
    read_labelled_images,
    select_split,
)
from recsim_tasks.learning.data.near_duplicates import has_near_duplicate
from recsim_tasks.learning.data.splits import Split
from recsim_tasks.learning.spec import TrainingSpec
from recsim_tasks.learning.training.communicator import Communicator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """One rank's training and validation images."""

    train: ImageDataset
    validation: ImageDataset
    total: int
    """Training images of all ranks."""


def load_training_data(spec: TrainingSpec, communicator: Communicator) -> TrainingData:
    """Load this rank's shard of the images that `spec` uses; `InputError` when there are too few.

    Training images that nearly equal a validation or test image are left out.
    """
    labelled = read_labelled_images(spec.products_uri, spec.cursor)

    def load(split: Split, share: float) -> ImageDataset:
        subset = Subset(split, share, spec.seed, communicator.rank, communicator.size)
        selection = select_split(labelled, spec.categories, subset)
        return load_images(spec.products_uri, spec.cursor, spec.preprocessing, *selection)

    train = load("train", spec.train_share)
    validation = load("validation", spec.validation_share)
    evaluated = communicator.all_gather(np.concatenate([validation.signatures, load("test", 1.0).signatures]))
    duplicates = has_near_duplicate(train.signatures, evaluated)
    count = sum(communicator.all_gather_object(int(duplicates.sum())))
    if communicator.rank == 0 and count:
        log.info(
            "Left out of training as near-duplicates of validation or test images: %s images", f"{count:,}"
        )
    train = train.where(~duplicates)
    return TrainingData(train, validation, _total(len(train), communicator))


def _total(count: int, communicator: Communicator) -> int:
    counts: list[int] = communicator.all_gather_object(count)
    if min(counts) == 0:
        raise InputError(
            f"{sum(counts)} training images are too few for {communicator.size} ranks (RECSIM_RANKS). "
            "Deliver more products, or lower the number of ranks."
        )
    return sum(counts)
