"""Run by test_train: two ranks train for longer than any test waits, resuming from the last checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.foundation.errors import RecsimError
    from recsim_tasks.foundation.logging import configure
    from recsim_tasks.foundation.settings import Settings
    from recsim_tasks.learning.training import train

    configure()
    train.ROUNDS = 2_000
    home = Path(sys.argv[2])
    settings = Settings.model_construct(
        home=home, products=sys.argv[1], image_size=28, image_channels=1, train_images=1_000_000
    )
    cursor = head(sys.argv[1])
    assert cursor is not None
    try:
        train.train(settings, cursor, {}, home / "model")
    except RecsimError as error:
        sys.exit(str(error))
