"""Run by test_tune: a real search on Spark, whose objective is a formula that takes 20 ms."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.spec import ValidationResult
from recsim_tasks.learning.tuning.trial import TrialResult


def formula(spec: Any, data: Any, hyperparameters: Hyperparameters, finished: Any) -> TrialResult:
    time.sleep(0.02)
    score = 1 - abs(hyperparameters.proxy_scale - 20) / 20
    return TrialResult(
        hyperparameters.as_json(), (ValidationResult(100, time.time(), 1.0, score, score, 1.0),)
    )


if __name__ == "__main__":
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.foundation.logging import configure
    from recsim_tasks.foundation.settings import Settings
    from recsim_tasks.learning.tuning import trial_record, tune

    configure()
    tune.run_trial = formula  # type: ignore[attr-defined]
    trial_record.should_stop_search = lambda scores: False  # type: ignore[attr-defined]
    uri, home, trials = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    settings = Settings.model_construct(
        home=home, products=uri, image_size=28, image_channels=1, tune_images=500
    )
    cursor = head(uri)
    assert cursor is not None
    champion = {**Hyperparameters().as_json(), "proxy_scale": 13.0}
    print(tune.tune(settings, cursor, home / "trials.json", trials, champion), flush=True)
