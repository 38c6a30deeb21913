"""Notices when an update of Hyperopt changes the documents that `hyperopt_search` reads and writes."""

from __future__ import annotations

from typing import Any

from hyperopt.base import JOB_STATE_DONE, JOB_STATE_ERROR, JOB_STATE_RUNNING, SONify, Trials

from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.spec import ValidationResult
from recsim_tasks.learning.tuning.hyperopt_search import WORKER_DIED, _document, _result
from recsim_tasks.learning.tuning.trial import TrialResult

POINT = Hyperparameters(pair_loss="circle", proxy_scale=13.0)
RESULT = TrialResult(POINT.as_json(), (ValidationResult(100, 1.0, 1.0, 0.5, 0.4, 0.9),))


def stored(state: int, result: dict[str, Any], **misc: object) -> Any:
    """A trial as Hyperopt keeps it in the list that is polled."""
    document = _document(0, POINT.as_json(), state, result)
    document["misc"] |= misc
    trials = Trials()
    trials.insert_trial_docs([SONify(document)])
    trials.refresh()
    return trials._dynamic_trials[0]


def test_hyperopt_accepts_a_known_result_and_gives_it_back() -> None:
    assert _result(stored(JOB_STATE_DONE, RESULT.as_json())) == RESULT


def test_a_dead_worker_is_a_failed_trial_with_its_hyperparameters() -> None:
    failed = _result(stored(JOB_STATE_ERROR, {"status": "new"}, error=("Exception", "")))
    assert failed == TrialResult(POINT.as_json(), reason=WORKER_DIED)


def test_running_and_cancelled_trials_have_no_result() -> None:
    assert _result(stored(JOB_STATE_RUNNING, {"status": "new"})) is None
    assert _result(stored(JOB_STATE_ERROR, {"status": "new"})) is None
