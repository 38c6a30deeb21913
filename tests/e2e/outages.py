"""Take MLflow away in the middle of a refresh, and bring it back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from recsim_demo.stack import Stack

DAG = "recsim_refresh"
OUTAGE_SECONDS = 20.0
GIVE_UP_SECONDS = 1800.0


@dataclass(frozen=True)
class Outage:
    """What Airflow's table showed of the task `plan` while MLflow was away."""

    run_id: str
    state: str
    reason: str


def take_away(stack: Stack, earlier_runs: int, take: Callable[[], None], bring_back: Callable[[], None]) -> Outage:
    """From the end of `ingest` on, for 20 s and until the next task that asks MLflow has failed to."""
    run_id = stack.airflow.wait_for_run(DAG, earlier_runs, timeout=GIVE_UP_SECONDS)
    _until(stack, run_id, "ingest", "success")
    take()
    began = time.monotonic()
    try:
        shown = _until(stack, run_id, "plan", "up_for_retry")
        time.sleep(max(0.0, OUTAGE_SECONDS - (time.monotonic() - began)))
    finally:
        bring_back()
    return Outage(run_id, shown["state"], shown["rendered_map_index"])


def _until(stack: Stack, run_id: str, task_id: str, state: str) -> dict[str, str]:
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while True:
        (found,) = (each for each in stack.airflow.task_instances(DAG, run_id) if each["task_id"] == task_id)
        if found["state"] == state:
            return found
        assert found["state"] not in ("failed", "upstream_failed"), f"{task_id} is {found['state']}"
        assert time.monotonic() < give_up, f"{task_id} is {found['state']}"
        time.sleep(0.5)
