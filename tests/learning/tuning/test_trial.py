from __future__ import annotations

import json

import pytest

from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.spec import ValidationResult
from recsim_tasks.learning.tuning.trial import TrialResult

PARAMS = Hyperparameters().as_json()
ROUNDS = tuple(ValidationResult(n * 100, float(n), 1.0, 0.5, n / 10, 0.9) for n in (1, 2))


@pytest.mark.parametrize(
    "result",
    [TrialResult(PARAMS, ROUNDS), TrialResult(PARAMS, ROUNDS[:1], True), TrialResult(PARAMS, reason="OOM")],
    ids=["whole", "pruned", "failed"],
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
