"""Stops MLflow in the middle of a refresh, and starts it again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from recsim_local.stack import Stack

DAG = "recsim_refresh"
OUTAGE_SECONDS = 20.0
GIVE_UP_SECONDS = 1800.0


@dataclass(frozen=True)
class Outage:
    """The task `plan` in Airflow while MLflow was away."""

    run_id: str
    state: str
    reason: str


def interrupt(stack: Stack, earlier_runs: int, stop: Callable[[], None], start: Callable[[], None]) -> Outage:
    """Stop MLflow after `ingest`, for at least 20 s and until the next task that needs it has failed."""
    run_id = stack.airflow.wait_for_run(DAG, earlier_runs, timeout=GIVE_UP_SECONDS)
    _until(stack, run_id, "ingest", "success")
    stop()
    began = time.monotonic()
    try:
        state = _until(stack, run_id, "plan", "up_for_retry")
        reason = stack.airflow.xcom(
            DAG, run_id, "plan", "reason"
        )  # Airflow clears the column Map Index when a try has failed
        time.sleep(max(0.0, OUTAGE_SECONDS - (time.monotonic() - began)))
    finally:
        start()
    return Outage(run_id, state, str(reason))


def _until(stack: Stack, run_id: str, task_id: str, state: str) -> str:
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while True:
        (task,) = (each for each in stack.airflow.task_instances(DAG, run_id) if each["task_id"] == task_id)
        if task["state"] == state:
            return state
        assert task["state"] not in ("failed", "upstream_failed"), f"{task_id} is {task['state']}"
        assert time.monotonic() < give_up, f"{task_id} is {task['state']}"
        time.sleep(0.5)
