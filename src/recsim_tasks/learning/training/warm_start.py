"""Begin where the champion ended: its weights, and proxies where its embeddings of each category lie."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.learning.data.dataset import Examples
from recsim_tasks.learning.model.export import SAVED_MODEL
from recsim_tasks.learning.tensorflow_runtime import tensorflow
from recsim_tasks.learning.training.trainer import Trainer

log = logging.getLogger(__name__)

IMAGES_A_CATEGORY = 50


def start_from(trainer: Trainer, model: Path, train: Examples) -> None:
    """Give `trainer` the weights in the model folder `model`, on all ranks alike; `InputError` when they are another network's."""
    ranks = trainer.ranks
    if ranks.rank == 0:
        _assign(trainer.network, model)
        log.info(f"Starting from the weights of {model}")
    trainer.restore(None)
    chosen = np.concatenate(
        [np.flatnonzero(train.labels == label)[:IMAGES_A_CATEGORY] for label in np.unique(train.labels)]
    )
    sums = np.zeros(trainer.proxies.shape, np.float32)
    np.add.at(sums, train.labels[chosen], trainer.embed(train.read(chosen)))
    total = ranks.gather(sums[None]).sum(axis=0)
    known = np.linalg.norm(total, axis=1) > 0
    proxies = trainer.proxies.numpy()
    proxies[known] = (
        total[known]
        / np.linalg.norm(total[known], axis=1, keepdims=True)
        * np.linalg.norm(proxies[known], axis=1, keepdims=True)
    )
    trainer.proxies.assign(proxies)


def _assign(network: Any, model: Path) -> None:
    stored = tensorflow().saved_model.load(str(model / SAVED_MODEL))
    values = [variable.numpy() for variable in stored.variables]
    if [value.shape for value in values] != [tuple(variable.shape) for variable in network.variables]:
        raise InputError(
            f"{model} holds another network than the one that is trained. Train without RECSIM_WARM_START."
        )
    network.set_weights(values)
