from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowFailException

from plugins.airflow_fakes import FakeStateStore, FakeTaskInstance
from recsim_airflow.commits import UnreadableTableError
from recsim_airflow.operators import JobFailedError, JobUnavailableError
from recsim_airflow.retries import OutageRetryPolicy, begin_try

pytestmark = pytest.mark.airflow

UNAVAILABLE = JobUnavailableError("MLflow does not answer.")
BROKEN = JobFailedError("A bug.")


class Task:
    """A task whose tries fail as in Airflow: its process asks the policy, or is killed and asks nothing."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, failures: int = 2, limit: timedelta = timedelta(minutes=15)
    ) -> None:
        self.ti, self.store, self.now = FakeTaskInstance(), FakeStateStore(), 1_000_000.0
        self.task = BaseOperator(
            task_id="plan", retry_policy=OutageRetryPolicy(failures), execution_timeout=limit
        )
        monkeypatch.setattr(time, "time", lambda: self.now)

    @property
    def context(self) -> Any:
        return {"ti": self.ti, "task": self.task, "task_state_store": self.store}

    def fails(self, error: Exception) -> timedelta | None:
        """Run a try that fails; the delay before the next one, None when there is none."""
        begin_try(self.context)
        policy = self.task.retry_policy
        assert policy is not None
        decision = policy.evaluate(error, self.ti.try_number, self.ti.max_tries, self.context)
        self.ti.try_number += 1
        self.now += decision.retry_delay.total_seconds() if decision.retry_delay else 0
        return None if decision.action is RetryAction.FAIL else decision.retry_delay

    def is_killed(self) -> None:
        begin_try(self.context)
        self.ti.try_number += 1

    def is_cleared(self) -> None:
        self.ti.max_tries = self.ti.try_number + 60


@pytest.mark.parametrize("error", [UNAVAILABLE, UnreadableTableError("The table cannot be read.")])
def test_an_outage_is_retried_at_growing_delays_until_the_time_limit(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    task = Task(monkeypatch, limit=timedelta(hours=1))
    delays = [task.fails(error) for _ in range(11)]
    assert delays[:6] == [timedelta(seconds=n) for n in (30, 60, 120, 240, 480, 600)]
    assert sum(filter(None, delays), timedelta()) == timedelta(hours=1)
    assert delays[-1] is None


def test_the_time_limit_includes_the_time_of_the_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(monkeypatch)
    task.fails(UNAVAILABLE)
    task.now += 900
    assert task.fails(UNAVAILABLE) is None


def test_another_failure_is_retried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(monkeypatch)
    assert [task.fails(BROKEN) for _ in range(3)] == [timedelta(seconds=30), timedelta(seconds=60), None]


def test_an_outage_does_not_count_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(monkeypatch, failures=1)
    assert all(task.fails(error) for error in (UNAVAILABLE, UNAVAILABLE, BROKEN, UNAVAILABLE))
    assert task.fails(BROKEN) is None


def test_a_task_that_is_killed_three_times_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(monkeypatch)
    for _ in range(3):
        task.is_killed()
    with pytest.raises(AirflowFailException, match="3 tries failed or were killed"):
        task.is_killed()
    assert task.ti.xcoms["reason"].startswith("Gave up: 3 tries")


def test_the_count_starts_again_after_a_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(monkeypatch)
    for _ in range(3):
        task.fails(BROKEN)
    task.now += 7200
    task.is_cleared()
    assert task.fails(UNAVAILABLE) == timedelta(seconds=30)
    assert [task.fails(BROKEN) for _ in range(3)] == [timedelta(seconds=30), timedelta(seconds=60), None]


def test_the_reason_of_a_retry_names_the_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(monkeypatch)
    begin_try(task.context)
    decision = OutageRetryPolicy().evaluate(UNAVAILABLE, 1, 60, task.context)
    assert decision.reason == "Retry in 30 s: MLflow does not answer."
