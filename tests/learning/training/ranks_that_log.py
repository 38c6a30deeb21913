"""Run by test_distributed: two Horovod ranks that build a network, and log what an operator must see."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any


def build(communicator: Any, spec: Any) -> None:
    from recsim_tasks.learning.training.trainer import Trainer

    Trainer(spec, communicator)
    level = logging.INFO if communicator.rank == 0 else logging.WARNING
    logging.getLogger("recsim_tasks.test").log(level, "rank %d has built its network", communicator.rank)
    if communicator.rank == 1:
        os.write(2, b"E0000 native error of rank 1\n")


if __name__ == "__main__":
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.foundation.logging import configure
    from recsim_tasks.foundation.settings import Settings
    from recsim_tasks.learning.hyperparameters import Hyperparameters
    from recsim_tasks.learning.training.distributed import run_on_ranks
    from recsim_tasks.learning.training.planning import Budget, plan_training

    configure()
    settings = Settings.model_construct(
        home=Path(sys.argv[2]), products=sys.argv[1], image_size=28, image_channels=1
    )
    cursor = head(sys.argv[1])
    assert cursor is not None
    run_on_ranks(settings, build, plan_training(settings, cursor, Hyperparameters(), Budget(6_000, 30, 2, 1)))
