"""Run by test_loop: train until killed, resuming from the last checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.foundation.errors import RecsimError
    from recsim_tasks.foundation.logging import configure
    from recsim_tasks.foundation.settings import Settings
    from recsim_tasks.learning.hyperparameters import Hyperparameters
    from recsim_tasks.learning.training.checkpoints import Checkpoints
    from recsim_tasks.learning.training.communicator import SingleProcess
    from recsim_tasks.learning.training.loop import FitOptions, fit
    from recsim_tasks.learning.training.planning import Budget, plan_training
    from recsim_tasks.learning.training.training_data import load_training_data

    configure()
    home = Path(sys.argv[2])
    settings = Settings.model_construct(home=home, products=sys.argv[1], image_size=28, image_channels=1)
    cursor = head(sys.argv[1])
    assert cursor is not None
    spec = plan_training(settings, cursor, Hyperparameters(), Budget(1_000_000, 32, 1, 2_000))
    options = FitOptions("Endless", Checkpoints(home / "checkpoints", "endless"))
    try:
        fit(spec, SingleProcess(), load_training_data(spec, SingleProcess()), options)
    except RecsimError as error:
        sys.exit(str(error))
