"""Warm start: the champion's weights, and each category's proxy in the mean direction of its embeddings."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.learning.data.dataset import ImageDataset
from recsim_tasks.learning.model.export import SAVED_MODEL
from recsim_tasks.learning.tensorflow_runtime import tensorflow
from recsim_tasks.learning.training.trainer import Trainer

log = logging.getLogger(__name__)

IMAGES_PER_CATEGORY = 50


def warm_start(trainer: Trainer, model: Path, train: ImageDataset) -> None:
    """Load the weights of the model folder `model` on all ranks; `InputError` if they do not fit."""
    communicator = trainer.communicator
    if communicator.rank == 0:
        _load_weights(trainer.network, model)
        log.info("Starting from the weights of %s", model)
    trainer.restore(None)
    rows = np.concatenate(
        [np.flatnonzero(train.labels == label)[:IMAGES_PER_CATEGORY] for label in np.unique(train.labels)]
    )
    sums = np.zeros(trainer.proxies.shape, np.float32)
    np.add.at(sums, train.labels[rows], trainer.embed(train.read(rows)))
    total = communicator.all_gather(sums[None]).sum(axis=0)
    known = np.linalg.norm(total, axis=1) > 0
    proxies = trainer.proxies.numpy()
    lengths = np.linalg.norm(proxies[known], axis=1, keepdims=True)
    proxies[known] = total[known] / np.linalg.norm(total[known], axis=1, keepdims=True) * lengths
    trainer.proxies.assign(proxies)


def _load_weights(network: Any, model: Path) -> None:
    stored = tensorflow().saved_model.load(str(model / SAVED_MODEL))
    values = [variable.numpy() for variable in stored.variables]
    if [value.shape for value in values] != [tuple(variable.shape) for variable in network.variables]:
        raise InputError(
            f"{model} contains another network than the one to be trained. Train without RECSIM_WARM_START."
        )
    network.set_weights(values)
