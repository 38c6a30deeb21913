"""Notices when an update of Hyperopt changes the documents that `hyperopt_search` reads and writes."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Any

import pytest
from hyperopt.base import JOB_STATE_DONE, JOB_STATE_ERROR, JOB_STATE_RUNNING, SONify, Trials

from recsim_tasks.foundation.errors import UnavailableError
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.spec import ValidationResult
from recsim_tasks.learning.tuning import hyperopt_search
from recsim_tasks.learning.tuning.hyperopt_search import WORKER_DIED, _document, _reporting, _result
from recsim_tasks.learning.tuning.trial import TrialResult

if TYPE_CHECKING:
    from collections.abc import Callable

POINT = Hyperparameters(pair_loss="circle", proxy_scale=13.0)
RESULT = TrialResult(POINT.as_json(), (ValidationResult(100, 1.0, 1.0, 0.5, 0.4, 0.9),))


def stored(state: int, result: dict[str, Any], **misc: object) -> Any:
    """A trial as Hyperopt keeps it in the list that is polled."""
    return all_stored(state, result, **misc)._dynamic_trials[0]


def all_stored(state: int, result: dict[str, Any], **misc: object) -> Any:
    """Hyperopt's list with one trial."""
    document: dict[str, Any] = _document(0, POINT.as_json(), state, result)
    document["misc"] |= misc
    trials = Trials()
    trials.insert_trial_docs([SONify(document)])
    trials.refresh()
    return trials


def test_hyperopt_accepts_a_known_result_and_gives_it_back() -> None:
    assert _result(stored(JOB_STATE_DONE, RESULT.as_json())) == RESULT


def test_a_dead_worker_is_a_failed_trial_with_its_hyperparameters() -> None:
    failed = _result(stored(JOB_STATE_ERROR, {"status": "new"}, error=("Exception", "")))
    assert failed == TrialResult(POINT.as_json(), reason=WORKER_DIED)


def test_running_and_cancelled_trials_have_no_result() -> None:
    assert _result(stored(JOB_STATE_RUNNING, {"status": "new"})) is None
    assert _result(stored(JOB_STATE_ERROR, {"status": "new"})) is None


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_error_while_a_result_is_recorded_ends_the_search() -> None:
    def full(result: TrialResult) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    trials = all_stored(JOB_STATE_DONE, RESULT.as_json())
    with pytest.raises(OSError, match="No space left"), _reporting(None, trials, 0, full) as has_failed:
        wait_for(has_failed)


def test_a_trial_that_an_outage_kept_from_running_ends_the_search_and_is_not_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hyperopt_search, "has_ended", lambda spark: False)
    unavailable = TrialResult(POINT.as_json(), reason="None of the 2 GPUs is free.", unavailable=True)
    trials, recorded = all_stored(JOB_STATE_DONE, unavailable.as_json()), list[TrialResult]()
    with (
        pytest.raises(UnavailableError, match="None of the 2 GPUs"),
        _reporting(None, trials, 0, recorded.append) as has_failed,
    ):
        wait_for(has_failed)
    assert recorded == []
