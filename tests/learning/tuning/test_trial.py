from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from recsim_tasks.learning import devices
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.spec import Resources, ValidationResult
from recsim_tasks.learning.tuning.trial import TrialResult, run_trial

PARAMS = Hyperparameters().as_json()
ROUNDS = tuple(ValidationResult(n * 100, float(n), 1.0, 0.5, n / 10, 0.9) for n in (1, 2))


@pytest.mark.parametrize(
    "result",
    [
        TrialResult(PARAMS, ROUNDS),
        TrialResult(PARAMS, ROUNDS[:1], pruned=True),
        TrialResult(PARAMS, reason="OOM"),
        TrialResult(PARAMS, reason="No GPU is free", unavailable=True),
    ],
    ids=["whole", "pruned", "failed", "unavailable"],
)
def test_a_result_survives_its_json(result: TrialResult) -> None:
    assert TrialResult.from_json(json.loads(json.dumps(result.as_json()))) == result


def test_hyperopt_minimises_the_negative_score() -> None:
    as_json = TrialResult(PARAMS, ROUNDS).as_json()
    assert (as_json["status"], as_json["loss"]) == ("ok", -0.2)
    assert TrialResult(PARAMS, reason="OOM").as_json() == {
        "status": "fail",
        "reason": "OOM",
        "params": PARAMS,
    }


def test_a_trial_without_a_free_device_did_not_fail_for_its_hyperparameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr("recsim_tasks.learning.tuning.trial.configure", lambda: None)
    spec: Any = SimpleNamespace(resources=Resources(home=tmp_path))
    with devices.acquire_device(tmp_path, gpus=0, shares=1):
        result = run_trial(spec, cast("Any", None), Hyperparameters(), [])
    assert result.unavailable
    assert "None of the 1 processor shares of this machine is free" in str(result.reason)
