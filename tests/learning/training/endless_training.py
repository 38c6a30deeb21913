"""Run by test_fitting: train until killed, from the last checkpoint on."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.foundation.errors import RecsimError
    from recsim_tasks.foundation.settings import Settings
    from recsim_tasks.learning.hyperparameters import Parameters
    from recsim_tasks.learning.training.checkpoints import Checkpoints
    from recsim_tasks.learning.training.distributed import Alone
    from recsim_tasks.learning.training.loop import fit, load_shards
    from recsim_tasks.learning.training.planning import plan_job

    home = Path(sys.argv[2])
    settings = Settings.model_construct(home=home, products=sys.argv[1], image_size=28, image_channels=1)
    cursor = head(sys.argv[1])
    assert cursor is not None
    job = plan_job(settings, cursor, Parameters(), 1_000_000, 32, 1, 2_000)
    try:
        fit(job, Alone(), load_shards(job, Alone()), "Endless", Checkpoints(home / "checkpoints", "endless"))
    except RecsimError as error:
        sys.exit(str(error))
