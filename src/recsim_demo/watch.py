"""Follow one refresh as an operator would: task by task, with the last line of what runs, until it has ended."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from recsim_local.airflow import PrivateAirflow
from recsim_local.console import say
from recsim_tasks.foundation.errors import RecsimError

DAG = "recsim_refresh"
LOG_LINE_EVERY_SECONDS = 10.0
# A line that says how far a job is; the rest of a log is for whoever looks for a fault.
PROGRESS = re.compile(r"\d of [\d,]+ ")
SHOWN = ("running", "success", "failed", "upstream_failed", "up_for_retry", "deferred")


@dataclass(frozen=True)
class Refresh:
    """A refresh that has succeeded."""

    run_id: str
    decision: str
    seconds: float
    """From the feed's landing to the end of the run."""
    phases: dict[str, float]
    """Seconds by task, for those that ran."""


def follow(airflow: PrivateAirflow, earlier_runs: int, landed_at: float) -> Refresh:
    """Wait for the run that a feed's landing starts, and for its end; `RecsimError` names the task that failed and why."""
    run_id = airflow.wait_for_run(DAG, after=earlier_runs)
    say(f"  run {run_id} has started by itself: {airflow.url}/dags/{DAG}/runs/{run_id}")
    watcher = _Watcher(airflow, run_id)
    run = airflow.wait(DAG, run_id, on_change=watcher.change, on_poll=watcher.poll)
    seconds = time.time() - landed_at
    if run["state"] != "success":
        raise RecsimError(f"Refresh {run_id} has failed: {watcher.reason()}")
    decision = airflow.xcom(DAG, run_id, "plan")["decision"]
    return Refresh(run_id, decision, round(seconds, 1), _durations(airflow.task_instances(DAG, run_id)))


class _Watcher:
    """Says what changes, and every now and then what the running task last logged."""

    def __init__(self, airflow: PrivateAirflow, run_id: str) -> None:
        self.airflow, self.run_id = airflow, run_id
        self.running: str | None = None
        self.failed: str | None = None
        self.said_at, self.last_line = time.monotonic(), ""

    def change(self, task_id: str, state: str) -> None:
        if state in SHOWN:
            reason = (
                self.airflow.xcom(DAG, self.run_id, task_id, "reason")
                if state in ("success", "failed")
                else None
            )
            say(f"  {task_id:<18} {state}{f': {reason}' if reason else ''}")
        if state == "running":
            self.running = task_id
        elif task_id == self.running:
            self.running = None
        if state == "failed":
            self.failed = task_id

    def poll(self) -> None:
        if self.running is None or time.monotonic() - self.said_at < LOG_LINE_EVERY_SECONDS:
            return
        self.said_at = time.monotonic()
        lines = [
            line
            for line in self.airflow.logs(DAG, self.run_id, self.running).splitlines()
            if PROGRESS.search(line)
        ]
        if lines and lines[-1] != self.last_line:
            self.last_line = lines[-1]
            say(f"    {self.last_line.partition('<stderr>:')[2] or self.last_line}")

    def reason(self) -> str:
        if self.failed is None:
            return "no task says why; see the run's page."
        return f"{self.failed}: {self.airflow.xcom(DAG, self.run_id, self.failed, 'reason')}"


def _durations(instances: list[dict[str, Any]]) -> dict[str, float]:
    def seconds(instance: dict[str, Any]) -> float:
        began, ended = (datetime.fromisoformat(instance[name]) for name in ("start_date", "end_date"))
        return round((ended - began).total_seconds(), 1)

    ran = [
        instance
        for instance in instances
        if instance["state"] == "success" and instance["start_date"] and instance["end_date"]
    ]
    return {
        instance["task_id"]: seconds(instance)
        for instance in sorted(ran, key=lambda instance: instance["start_date"])
    }
