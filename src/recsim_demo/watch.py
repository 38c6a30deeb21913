"""Follows a refresh as an operator does: task by task, with the progress of the running one."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime

from recsim_local.airflow import PrivateAirflow
from recsim_local.airflow_api import TaskInstance
from recsim_local.console import echo
from recsim_tasks.foundation.errors import RecsimError

DAG = "recsim_refresh"
LOG_LINE_EVERY_SECONDS = 10.0
# A log line with a job's progress, such as `1,200 of 60,000 images`.
PROGRESS = re.compile(r"\d of [\d,]+ ")
SHOWN_STATES = ("running", "success", "failed", "upstream_failed", "up_for_retry", "deferred")


@dataclass(frozen=True)
class Refresh:
    """A successful refresh."""

    run_id: str
    decision: str
    seconds: float
    """From the delivery of the feed to the end of the run."""
    phases: dict[str, float]
    """Seconds by task, without skipped tasks."""


def follow(airflow: PrivateAirflow, earlier_runs: int, delivered_at: float) -> Refresh:
    """Wait for the run that a feed starts, and for its end; `RecsimError` with the reason if it fails."""
    run_id = airflow.wait_for_run(DAG, after=earlier_runs)
    echo(f"  run {run_id} has started: {airflow.url}/dags/{DAG}/runs/{run_id}")
    printer = _ProgressPrinter(airflow, run_id)
    run = airflow.wait(DAG, run_id, on_change=printer.change, on_poll=printer.poll)
    seconds = time.time() - delivered_at
    if run["state"] != "success":
        raise RecsimError(f"Refresh {run_id} failed: {printer.reason()}")
    decision = airflow.xcom(DAG, run_id, "plan")["decision"]
    return Refresh(run_id, decision, round(seconds, 1), _durations(airflow.task_instances(DAG, run_id)))


class _ProgressPrinter:
    """Prints every change of a task's state, and every ten seconds the progress of the running one."""

    def __init__(self, airflow: PrivateAirflow, run_id: str) -> None:
        self.airflow, self.run_id = airflow, run_id
        self.running: str | None = None
        self.failed: str | None = None
        self.printed_at, self.last_line = time.monotonic(), ""

    def change(self, task_id: str, state: str) -> None:
        if state in SHOWN_STATES:
            reason = (
                self.airflow.xcom(DAG, self.run_id, task_id, "reason")
                if state in ("success", "failed")
                else None
            )
            echo(f"  {task_id:<18} {state}{f': {reason}' if reason else ''}")
        if state == "running":
            self.running = task_id
        elif task_id == self.running:
            self.running = None
        if state == "failed":
            self.failed = task_id

    def poll(self) -> None:
        if self.running is None or time.monotonic() - self.printed_at < LOG_LINE_EVERY_SECONDS:
            return
        self.printed_at = time.monotonic()
        tries = {
            instance["task_id"]: instance["try_number"]
            for instance in self.airflow.task_instances(DAG, self.run_id)
        }
        log = self.airflow.logs(DAG, self.run_id, self.running, tries[self.running])
        lines = [line for line in log.splitlines() if PROGRESS.search(line)]
        if lines and lines[-1] != self.last_line:
            self.last_line = lines[-1]
            echo(f"    {self.last_line}")

    def reason(self) -> str:
        if self.failed is None:
            return "no task failed; see the run's page."
        return f"{self.failed}: {self.airflow.xcom(DAG, self.run_id, self.failed, 'reason')}"


def _durations(instances: list[TaskInstance]) -> dict[str, float]:
    """Seconds of each task that succeeded, by its start."""
    finished = [
        (datetime.fromisoformat(start), datetime.fromisoformat(end), instance["task_id"])
        for instance in instances
        if instance["state"] == "success"
        and (start := instance["start_date"])
        and (end := instance["end_date"])
    ]
    return {task_id: round((end - start).total_seconds(), 1) for start, end, task_id in sorted(finished)}
