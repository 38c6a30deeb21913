"""Operators of the recsim DAGs.

`RecsimJobOperator` runs a job, `PlanBranchOperator` follows the plan's decision, `UpToDateOperator` ends a
run with no work.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.sdk import Asset, BaseOperator, Context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout

from recsim_airflow.asset_state import record_cursor
from recsim_airflow.job_log import log_job_line
from recsim_airflow.job_process import JobProcess, stop_recorded
from recsim_airflow.links import MlflowLink
from recsim_airflow.results import (
    JobOutput,
    Outcome,
    VersionMismatchError,
    failure_reason,
    outcome,
    parse_output,
)
from recsim_airflow.status_line import STATUS_LINE_TEMPLATE, fail_without_retry, set_status_line
from recsim_tasks.contracts import IngestResult, PlanResult

PROCESS_KEY = "process"
# Variables of Airflow that may contain secrets: its settings, its connections, its variables.
SECRET_PREFIXES = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_")
# The machine is out of memory, processes or open files. Any other error of a start is the command's.
EXHAUSTED = {errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE}


class JobFailedError(AirflowException):
    """The job failed in a way that a retry may cure."""


class JobUnavailableError(JobFailedError):
    """The job failed because a service that it needs is unavailable."""


# By outcome; every other outcome fails the task without a retry.
RETRIED: dict[Outcome, type[AirflowException]] = {
    "failed": JobFailedError,
    "unavailable": JobUnavailableError,
}


class RecsimJobOperator(BaseOperator):
    """Run `recsim JOB ARGUMENTS... --refresh REFRESH_ID` as a process. The task's XCom is the job's result.

    :param job: the job's name, such as `tune` (templated)
    :param arguments: what follows the name on the command line (templated); an argument that renders to an
        empty text is left out
    :param environment: variables for the job, in addition to the task's own (templated)
    :param command: path of the `recsim` to run (templated); by default `[recsim] command` of the Airflow
        configuration (`AIRFLOW__RECSIM__COMMAND`), else the one beside this Python
    :param refresh_id: id of the refresh (templated)
    :param succeed_on_hold: when a guard puts a feed on hold (exit code 3), succeed and leave the result to a
        task that asks a person, such as `FeedApprovalOperator`

    Exit codes: 0 done; 1 failed, retried; 2 refused and 3 rejected or on hold, never retried. A job whose
    result says that a service is unavailable raises `JobUnavailableError`, which `OutageRetryPolicy` retries
    until the task's time limit.

    .. code-block:: python

        embed = RecsimJobOperator(task_id="embed", job="embed")
        index = RecsimJobOperator(task_id="index", job="index", arguments=["append"])
        embed >> index
    """

    template_fields: Sequence[str] = ("job", "arguments", "environment", "command", "refresh_id")
    operator_extra_links = (MlflowLink(),)
    ui_color = "#e3f0fb"

    def __init__(
        self,
        *,
        job: str,
        arguments: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        command: str | None = None,
        refresh_id: str = "{{ run_id }}",
        succeed_on_hold: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(map_index_template=STATUS_LINE_TEMPLATE, **kwargs)
        self.job = job
        self.arguments = arguments
        self.environment = environment
        self.command = command
        self.refresh_id = refresh_id
        self.succeed_on_hold = succeed_on_hold
        self._process: JobProcess | None = None

    def execute(self, context: Context) -> dict[str, object]:
        """Run the job to its end and repeat its output in the task's log."""
        self._stop_earlier_try(context)
        process = self._process = self._start(context)
        try:
            self._record(context, process)
            last_output, last_message = self._follow(process)
            exit_code = process.wait()
        except AirflowTaskTimeout:
            limit = f"recsim {self.job} did not end within its time limit, {self.execution_timeout}."
            set_status_line(context, limit, level=logging.ERROR)
            raise
        finally:
            process.stop()
        context["task_state_store"].delete(PROCESS_KEY)
        return self._conclude(context, exit_code, last_output, last_message)

    def on_kill(self) -> None:
        """Stop the job and all its descendants, within the five seconds that Airflow allows."""
        if self._process is not None:
            self._process.stop()

    def _start(self, context: Context) -> JobProcess:
        program = self.command or default_command()
        command = [program, self.job, *filter(None, self.arguments), "--refresh", self.refresh_id]
        self.log.info("Running %s", " ".join(command))
        try:
            return JobProcess(command, job_environment(self.environment or {}))
        except OSError as error:
            if error.errno in EXHAUSTED:
                reason = (
                    f"Cannot start {program} now: {error.strerror}. Free memory, processes or open files."
                )
                set_status_line(context, reason, level=logging.ERROR)
                raise JobUnavailableError(reason) from error
            fail_without_retry(
                context,
                f"Cannot run {program}: {error.strerror}. "
                "Install recsim there, or set AIRFLOW__RECSIM__COMMAND to its path.",
            )

    def _record(self, context: Context, process: JobProcess) -> None:
        """Let a later try find the process, if this one is killed."""
        context["task_state_store"].set(
            PROCESS_KEY, {"pid": process.pid, "started": process.started, "host": socket.gethostname()}
        )

    def _follow(self, process: JobProcess) -> tuple[str, str]:
        """Log every line but the last one of stdout; return that one, and the last message of stderr."""
        last_output, last_message = "", ""
        for stream, line in process.lines():
            if stream == "stderr":
                last_message = log_job_line(line)
            else:
                if last_output:
                    self.log.info("%s", last_output)
                last_output = line
        return last_output, last_message

    def _conclude(
        self, context: Context, exit_code: int, last_output: str, last_message: str
    ) -> dict[str, object]:
        output = self._parse(context, last_output)
        ended = outcome(exit_code, output)
        result = output.result if output else None
        fields = result.model_dump(mode="json", exclude_unset=True) if result else None
        if ended == "done" and result and fields:
            set_status_line(context, result.summary)
            return fields
        if ended == "done":
            ended = "failed"
            last_message = (
                f"recsim {self.job} ended with exit code 0 but printed no result. "
                f"Check that {self.command or default_command()} is recsim."
            )
        reason = failure_reason(self.job, exit_code, output, last_message)
        if self.succeed_on_hold and isinstance(result, IngestResult) and result.on_hold and fields:
            set_status_line(context, reason, level=logging.WARNING)
            return fields
        if fields:
            context["ti"].xcom_push(key="return_value", value=fields)
        set_status_line(context, reason, level=logging.ERROR)
        raise RETRIED.get(ended, AirflowFailException)(reason)

    def _parse(self, context: Context, last_output: str) -> JobOutput | None:
        try:
            output = parse_output(self.job, last_output)
        except VersionMismatchError as error:
            self.log.info("%s", last_output)
            fail_without_retry(context, str(error))
        if output is None and last_output:
            self.log.info("%s", last_output)
        return output

    def _stop_earlier_try(self, context: Context) -> None:
        """After a scheduler was killed, a second try may start while the first one's job is still running."""
        record: Any = context["task_state_store"].get(PROCESS_KEY)
        if not record or record["host"] != socket.gethostname():
            return
        if stop_recorded(record["pid"], record["started"]):
            self.log.warning(
                "Stopped process %s, which an earlier try of this task had left running.", record["pid"]
            )


class PlanBranchOperator(BaseBranchOperator):
    """Follow the branch that the plan decided on.

    :param plan_task: id of the task that ran the job `plan`
    :param branches: id of a task or a task group, by decision
    """

    ui_color = "#fdf3d8"

    def __init__(self, *, plan_task: str, branches: dict[str, str], **kwargs: Any) -> None:
        super().__init__(map_index_template=STATUS_LINE_TEMPLATE, **kwargs)
        self.plan_task = plan_task
        self.branches = branches

    def choose_branch(self, context: Context) -> str:
        """The branch to follow; Airflow skips the others."""
        plan = PlanResult.model_validate(context["ti"].xcom_pull(task_ids=self.plan_task))
        if plan.decision not in self.branches:
            fail_without_retry(
                context,
                f"The plan decided {plan.decision!r}, for which this DAG has no branch. "
                f"Its branches are {', '.join(self.branches)}.",
            )
        set_status_line(context, plan.summary)
        return self.branches[plan.decision]


class UpToDateOperator(BaseOperator):
    """Record that the champion already reflects the catalogue at the head of the plan.

    :param plan_task: id of the task that ran the job `plan`
    :param catalogue: the watched asset whose state store keeps the cursor
    """

    ui_color = "#e8f7e4"

    def __init__(self, *, plan_task: str, catalogue: Asset, **kwargs: Any) -> None:
        super().__init__(inlets=[catalogue], map_index_template=STATUS_LINE_TEMPLATE, **kwargs)
        self.plan_task = plan_task
        self.catalogue = catalogue

    def execute(self, context: Context) -> None:
        """Record the cursor."""
        cursor = record_cursor(context, self.catalogue, plan_task=self.plan_task)
        set_status_line(context, f"The champion reflects the catalogue at version {cursor.version}.")


def refuse_unknown_conf(context: Context) -> None:
    """Refuse a run parameter that the DAG does not have.

    Airflow accepts any, so a misspelt one would have no effect.
    """
    given, known = set(context["dag_run"].conf or {}), set(context["dag"].params)
    if unknown := sorted(given - known):
        fail_without_retry(
            context,
            f"Unknown run parameter: {', '.join(unknown)}. "
            f"Trigger the DAG again with parameters from this list: {', '.join(sorted(known))}.",
        )


def default_command() -> str:
    """The `recsim` that the Airflow configuration names, else the one beside this interpreter."""
    return str(conf.get("recsim", "command", fallback=None) or Path(sys.executable).with_name("recsim"))


def job_environment(extra: dict[str, str]) -> dict[str, str]:
    """The task's environment and `extra`, without Airflow's settings, connections and variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SECRET_PREFIXES)} | extra
