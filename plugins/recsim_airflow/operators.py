"""`RecsimJobOperator` runs one `recsim` job; `DecisionBranchOperator` follows the plan's decision."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.sdk import BaseOperator, Context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from recsim_airflow.job_process import JobProcess, end_recorded
from recsim_airflow.links import MlflowLink
from recsim_airflow.results import Result, failure, outcome, parse_result, summary
from recsim_airflow.status import REASON_COLUMN, give_reason

PROCESS_KEY = "process"


class JobFailedError(AirflowException):
    """The job failed in a way that another try may cure."""


class JobUnavailableError(JobFailedError):
    """The job ended because something that it needs is away."""


# By what the job's end means; any other is final.
FAILURES: dict[str, type[AirflowException]] = {"retry": JobFailedError, "away": JobUnavailableError}


class RecsimJobOperator(BaseOperator):
    """Run `recsim JOB ARGUMENTS... --refresh RUN_ID`; its result is this task's XCom, its reason stands in one line.

    :param job: the job's name, such as `tune`
    :param arguments: what follows the name on the command line (templated); what renders to nothing is left out
    :param environment: variables for the job on top of the task's own (templated)
    :param hands_on_held: what a guard holds (exit code 3, with `on_hold` in the result) is not failed for, but handed on to a task that asks
    :param command: the `recsim` of another interpreter (templated); default is `[recsim] command` of the Airflow
        configuration (`AIRFLOW__RECSIM__COMMAND`), else the one that is installed beside this Python

    Exit codes: 0 done; 1 failed, may be retried; 2 refused and 3 held, never retried. What failed because something is away, as its
    result says, raises `JobUnavailableError`, which `OutageRetryPolicy` retries for as long as the task's time limit lasts.
    """

    template_fields: Sequence[str] = ("arguments", "environment", "command", "refresh_id")
    operator_extra_links = (MlflowLink(),)
    ui_color = "#e3f0fb"

    def __init__(
        self,
        *,
        job: str,
        arguments: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        command: str | None = None,
        hands_on_held: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(map_index_template=REASON_COLUMN, **kwargs)
        self.job = job
        self.arguments = arguments
        self.environment = environment
        self.command = command
        self.hands_on_held = hands_on_held
        self.refresh_id = "{{ run_id }}"
        self._process: JobProcess | None = None

    def execute(self, context: Context) -> Result:
        """Run the job to its end, its output line by line in this task's log."""
        self._end_earlier_try(context)
        process = self._start(context)
        try:
            result, last_line = self._follow(process)
            exit_code = process.wait()
        finally:
            process.stop()
        context["task_state_store"].delete(PROCESS_KEY)
        return self._conclude(context, exit_code, result, last_line)

    def on_kill(self) -> None:
        """End the job and all its descendants, within the five seconds that Airflow leaves."""
        if self._process is not None:
            self._process.stop()

    def _start(self, context: Context) -> JobProcess:
        command = [
            self.command or default_command(),
            self.job,
            *filter(None, self.arguments),
            "--refresh",
            self.refresh_id,
        ]
        self.log.info("Running %s", " ".join(command))
        try:
            process = self._process = JobProcess(command, job_environment(self.environment or {}))
        except OSError as error:
            sentence = f"{command[0]} cannot be run: {error.strerror}. Install recsim there, or set AIRFLOW__RECSIM__COMMAND to its path."
            raise AirflowFailException(sentence) from error
        context["task_state_store"].set(
            PROCESS_KEY, {"pid": process.pid, "started": process.started, "host": socket.gethostname()}
        )
        return process

    def _follow(self, process: JobProcess) -> tuple[Result | None, str]:
        """Log every line but the result itself; give the result and the last line that was said."""
        held_back, last_said = "", ""
        for stream, line in process.lines():
            if stream == "stderr":
                last_said = line
                self.log.info(line)
                continue
            if held_back:
                self.log.info(held_back)
            held_back = line
        result = parse_result(held_back)
        if result is None and held_back:
            self.log.info(held_back)
        return result, last_said

    def _conclude(self, context: Context, exit_code: int, result: Result | None, last_line: str) -> Result:
        verdict = outcome(exit_code, result)
        if verdict == "done" and result is None:
            verdict, last_line = (
                "retry",
                f"recsim {self.job} ended well but its last line is no result. Is {self.command or default_command()} recsim?",
            )
        if verdict == "done" and result is not None:
            give_reason(context, summary(self.job, result))
            return result
        reason = failure(self.job, exit_code, result, last_line)
        if verdict == "held":
            reason = f"Held: {reason}"
            if self.hands_on_held and result and result.get("on_hold"):
                give_reason(context, reason)
                return result
            context["ti"].xcom_push(key="return_value", value=result)
        give_reason(context, reason)
        raise FAILURES.get(verdict, AirflowFailException)(reason)

    def _end_earlier_try(self, context: Context) -> None:
        """A scheduler that was killed hands out a second try while the first one's job may still be running."""
        record: Any = context["task_state_store"].get(PROCESS_KEY)
        if not record or record["host"] != socket.gethostname():
            return
        if end_recorded(record["pid"], record["started"]):
            self.log.warning(
                "Ended process %s, which an earlier try of this task had left running.", record["pid"]
            )


class DecisionBranchOperator(BaseBranchOperator):
    """Go on with the branch that the plan decided for.

    :param plan_task: id of the task whose XCom has `decision` and `reasons`
    :param branches: task or group id by decision
    """

    ui_color = "#fdf3d8"

    def __init__(self, *, plan_task: str, branches: dict[str, str], **kwargs: Any) -> None:
        super().__init__(map_index_template=REASON_COLUMN, **kwargs)
        self.plan_task = plan_task
        self.branches = branches

    def choose_branch(self, context: Context) -> str:
        """Name the one branch to follow; the others show as skipped."""
        plan = context["ti"].xcom_pull(task_ids=self.plan_task)
        branch = self.branches.get(plan["decision"])
        if branch is None:
            raise AirflowFailException(
                f"The plan decided {plan['decision']!r}, which this DAG has no branch for. Bring DAG and recsim to one version."
            )
        give_reason(context, summary("plan", {**plan, "decision": branch}))
        return branch


def refuse_unknown_conf(context: Context) -> None:
    """Refuse a run setting that the DAG does not know: Airflow takes any, and a misspelt one would go unnoticed."""
    given, known = set(context["dag_run"].conf or {}), set(context["dag"].params)
    if unknown := sorted(given - known):
        reason = f"Unknown run setting {', '.join(unknown)}. This DAG takes {', '.join(sorted(known))}: trigger it again with these."
        give_reason(context, reason)
        raise AirflowFailException(reason)


def default_command() -> str:
    """The `recsim` that Airflow is configured to run, else the one beside this interpreter."""
    return str(conf.get("recsim", "command", fallback=None) or Path(sys.executable).with_name("recsim"))


def job_environment(extra: dict[str, str]) -> dict[str, str]:
    """The task's environment without Airflow's own settings, which hold its secrets, and with `extra`."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")} | extra
