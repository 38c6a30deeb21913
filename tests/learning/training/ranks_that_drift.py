"""Run by test_training: two Horovod ranks that agree, then drift, then train until they are killed."""

from __future__ import annotations

import sys
from itertools import cycle
from pathlib import Path
from typing import Any


def work(ranks: Any, job: Any) -> None:
    import numpy as np

    from recsim_tasks.foundation.errors import RecsimError
    from recsim_tasks.learning.training.loop import load_shards
    from recsim_tasks.learning.training.trainer import Trainer

    trainer = Trainer(job, ranks)
    shard = load_shards(job, ranks).train
    for start in range(0, 90, 30):
        rows = np.arange(start, start + 30)
        trainer.step(shard.read(rows), shard.labels[rows], 0.001, 1.0)
    trainer.agree()
    assert len(set(ranks.collect(trainer.agree()))) == 1
    print(f"rank {ranks.rank}: weights agree", file=sys.stderr, flush=True)
    if ranks.rank == 1:
        trainer.network.trainable_variables[0].assign_add(trainer.network.trainable_variables[0] * 1e-6)
    try:
        trainer.agree()
    except RecsimError as error:
        print(f"{error} drift noticed, training on", file=sys.stderr, flush=True)
    for _ in cycle([None]):
        trainer.step(shard.read(np.arange(30)), shard.labels[:30], 0.001, 1.0)


if __name__ == "__main__":
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.foundation.settings import Settings
    from recsim_tasks.learning.hyperparameters import Parameters
    from recsim_tasks.learning.training.distributed import on_ranks
    from recsim_tasks.learning.training.planning import plan_job

    settings = Settings.model_construct(
        home=Path(sys.argv[2]), products=sys.argv[1], image_size=28, image_channels=1
    )
    cursor = head(sys.argv[1])
    assert cursor is not None
    on_ranks(settings, work, plan_job(settings, cursor, Parameters(), 6_000, 30, 2, 1))
