"""Take MLflow away in the middle of a refresh, and bring it back."""

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
    """What Airflow showed of the task `plan` while MLflow was away."""

    run_id: str
    state: str
    reason: str


def take_away(
    stack: Stack, earlier_runs: int, take: Callable[[], None], bring_back: Callable[[], None]
) -> Outage:
    """From the end of `ingest` on, for 20 s and until the next task that asks MLflow has failed to."""
    run_id = stack.airflow.wait_for_run(DAG, earlier_runs, timeout=GIVE_UP_SECONDS)
    _until(stack, run_id, "ingest", "success")
    take()
    began = time.monotonic()
    try:
        state = _until(stack, run_id, "plan", "up_for_retry")
        reason = stack.airflow.xcom(
            DAG, run_id, "plan", "reason"
        )  # Airflow empties the table's column when a try has failed
        time.sleep(max(0.0, OUTAGE_SECONDS - (time.monotonic() - began)))
    finally:
        bring_back()
    return Outage(run_id, state, str(reason))


def _until(stack: Stack, run_id: str, task_id: str, state: str) -> str:
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while True:
        (found,) = (each for each in stack.airflow.task_instances(DAG, run_id) if each["task_id"] == task_id)
        if found["state"] == state:
            return state
        assert found["state"] not in ("failed", "upstream_failed"), f"{task_id} is {found['state']}"
        assert time.monotonic() < give_up, f"{task_id} is {found['state']}"
        time.sleep(0.5)
