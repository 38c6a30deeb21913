"""Run by test_tuning: a real search, its trials spread by Spark, whose objective is a formula that takes 20 ms."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from recsim_tasks.learning.hyperparameters import Parameters


def formula(job: Any, shards: Any, parameters: Parameters, finished: Any) -> dict[str, Any]:
    time.sleep(0.02)
    score = 1 - abs(parameters.proxy_scale - 20) / 20
    rounds = [
        {
            "images": 100,
            "at": time.time(),
            "loss": 1.0,
            "precision_at_1": score,
            "map_at_r": score,
            "spread": 1.0,
        }
    ]
    return {"status": "ok", "loss": -score, "rounds": rounds, "pruned": False, "params": parameters.as_json()}


if __name__ == "__main__":
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.foundation.settings import Settings
    from recsim_tasks.learning.tuning import tune

    tune.try_out = formula
    tune.stale = lambda scores: False
    uri, home, trials = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    settings = Settings.model_construct(
        home=home, products=uri, image_size=28, image_channels=1, tune_images=500
    )
    cursor = head(uri)
    assert cursor is not None
    champion = {**Parameters().as_json(), "proxy_scale": 13.0}
    print(tune.tune(settings, cursor, home / "trials.json", trials, champion), flush=True)
