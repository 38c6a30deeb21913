"""Run by test_train: two Horovod ranks with equal, then different weights; then they train until killed."""

from __future__ import annotations

import sys
from itertools import cycle
from pathlib import Path
from typing import Any


def train(communicator: Any, spec: Any) -> None:
    import numpy as np

    from recsim_tasks.foundation.errors import RecsimError
    from recsim_tasks.learning.training.trainer import Trainer
    from recsim_tasks.learning.training.training_data import load_training_data

    trainer = Trainer(spec, communicator)
    shard = load_training_data(spec, communicator).train
    for start in range(0, 90, 30):
        rows = np.arange(start, start + 30)
        trainer.step(shard.read(rows), shard.labels[rows], 0.001, 1.0)
    trainer.sync_and_check_weights()
    assert len(set(communicator.all_gather_object(trainer.sync_and_check_weights()))) == 1
    print(f"rank {communicator.rank}: weights are equal", file=sys.stderr, flush=True)
    if communicator.rank == 1:
        trainer.network.trainable_variables[0].assign_add(trainer.network.trainable_variables[0] * 1e-6)
    try:
        trainer.sync_and_check_weights()
    except RecsimError as error:
        print(f"{error} drift noticed, training on", file=sys.stderr, flush=True)
    for _ in cycle([None]):
        trainer.step(shard.read(np.arange(30)), shard.labels[:30], 0.001, 1.0)


if __name__ == "__main__":
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.foundation.settings import Settings
    from recsim_tasks.learning.hyperparameters import Hyperparameters
    from recsim_tasks.learning.training.distributed import run_on_ranks
    from recsim_tasks.learning.training.planning import Budget, plan_training

    settings = Settings.model_construct(
        home=Path(sys.argv[2]), products=sys.argv[1], image_size=28, image_channels=1
    )
    cursor = head(sys.argv[1])
    assert cursor is not None
    run_on_ranks(settings, train, plan_training(settings, cursor, Hyperparameters(), Budget(6_000, 30, 2, 1)))
