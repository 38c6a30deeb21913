from __future__ import annotations

import errno
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from plugins.airflow_fakes import PLAN, FakeStateStore, FakeTaskInstance, fake_context
from recsim_airflow import operators
from recsim_airflow.job_process import start_time
from recsim_airflow.operators import (
    JobFailedError,
    JobUnavailableError,
    PlanBranchOperator,
    RecsimJobOperator,
    UpToDateOperator,
    default_command,
    refuse_unknown_conf,
)

pytestmark = pytest.mark.airflow


EMBEDDED = {"embedded": 1, "reused": 2, "of": 3, "unembeddable": 0}
RESULT = f"print(json.dumps({EMBEDDED!r}))"


def operator(tmp_path: Path, text: str, **more: Any) -> RecsimJobOperator:
    command = tmp_path / "recsim"
    command.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{text}\n")
    command.chmod(0o755)
    arguments = {"job": "embed", "refresh_id": "manual__2026-01-01T00:00:00+00:00"} | more
    return RecsimJobOperator(task_id="embed", command=str(command), **arguments)


def test_the_last_line_is_the_result_and_the_rest_is_the_log_with_its_levels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = f"""
print("WARNING recsim_tasks.vectors.embedding: 2 images are too small", file=sys.stderr)
print("INFO recsim_tasks.vectors.embedding: 50%", file=sys.stderr)
print("Traceback (most recent call last):", file=sys.stderr, flush=True)
print("chatter")
{RESULT}
"""
    context = fake_context()
    with caplog.at_level(logging.INFO):
        assert operator(tmp_path, text).execute(context) == EMBEDDED
    lines = {(record.name, record.levelname, record.getMessage()) for record in caplog.records}
    assert {
        ("recsim_tasks.vectors.embedding", "WARNING", "2 images are too small"),
        ("recsim_tasks.vectors.embedding", "INFO", "50%"),
        ("recsim_airflow.job_log", "INFO", "Traceback (most recent call last):"),
    } <= lines
    assert '"embedded": 1' not in caplog.text
    assert context["reason"] == context["ti"].xcoms["reason"] == "embedded 1 of 3, reused 2"


def test_the_job_gets_its_arguments_the_refresh_and_no_secret_of_airflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW_CONN_LAKE", "AIRFLOW_VAR_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("RECSIM_HOME", "/somewhere")
    path = tmp_path / "started.json"
    text = f"""
started = {{"argv": sys.argv[1:], "env": dict(os.environ), "stdin": sys.stdin.read()}}
started["session"] = os.getsid(0) == os.getpid()
open({str(path)!r}, "w").write(json.dumps(started))
{RESULT}
"""
    operator(tmp_path, text, arguments=["--size", "", "3"], environment={"MORE": "1"}).execute(fake_context())
    started = json.loads(path.read_text())
    assert started["argv"] == ["embed", "--size", "3", "--refresh", "manual__2026-01-01T00:00:00+00:00"]
    assert started["env"]["RECSIM_HOME"] == "/somewhere"
    assert started["env"]["MORE"] == "1"
    assert started["env"]["RECSIM_PARENT_PID"] == str(os.getpid())
    assert "secret" not in started["env"].values()
    assert not [name for name in started["env"] if name.startswith("AIRFLOW__")]
    assert started["stdin"] == ""
    assert started["session"]


def test_the_refresh_is_the_run_by_default() -> None:
    assert RecsimJobOperator(task_id="embed", job="embed").refresh_id == "{{ run_id }}"


def test_exit_1_may_be_retried(tmp_path: Path) -> None:
    context = fake_context()
    text = ends({"error": "Spark went away.", "error_type": "failed", "exit_code": 1})
    with pytest.raises(JobFailedError, match=r"^Spark went away\.$") as raised:
        operator(tmp_path, text).execute(context)
    assert not isinstance(raised.value, AirflowFailException | JobUnavailableError)
    assert context["ti"].xcoms == {"reason": "Spark went away."}


def test_an_outage_raises_an_error_of_its_own(tmp_path: Path) -> None:
    context = fake_context()
    outage = {"error": "MLflow does not answer.", "error_type": "unavailable", "exit_code": 1}
    with pytest.raises(JobUnavailableError, match=r"^MLflow does not answer\.$"):
        operator(tmp_path, ends(outage)).execute(context)
    assert context["ti"].xcoms == {"reason": "MLflow does not answer."}


def test_exit_2_fails_for_good_with_the_jobs_own_sentence(tmp_path: Path) -> None:
    text = ends({"error": "No catalogue yet. Deliver a feed.", "error_type": "missing", "exit_code": 2})
    with pytest.raises(AirflowFailException, match=r"^No catalogue yet\. Deliver a feed\.$"):
        operator(tmp_path, text).execute(fake_context())


def ends(fields: dict[str, Any]) -> str:
    """A job that prints a failure and leaves with its exit code."""
    return f"print(json.dumps({fields!r})); sys.exit({fields['exit_code']})"


def test_exit_3_fails_for_good_and_leaves_the_result_as_xcom(tmp_path: Path) -> None:
    context = fake_context()
    gate = {"version": 7, "verdict": "rejected", "reasons": ["Precision fell."], "mlflow_page": "runs/1"}
    text = ends({**gate, "error": "Precision fell.", "error_type": "rejected", "exit_code": 3})
    with pytest.raises(AirflowFailException, match=r"^Rejected: Precision fell\.$"):
        operator(tmp_path, text, job="gate").execute(context)
    assert context["ti"].xcoms == {"return_value": gate, "reason": "Rejected: Precision fell."}
    assert context["reason"] == "Rejected: Precision fell."


ON_HOLD = {
    "feed_id": "f",
    "applied": False,
    "table_version": 3,
    "on_hold": {"feed_id": "f", "digest": "d", "folder": "/inbox/f", "figures": [], "row_reasons": []},
    "error": "Feed f needs a review.",
    "error_type": "on_hold",
    "exit_code": 3,
}


def test_a_feed_on_hold_is_left_to_a_task_that_asks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = fake_context()
    ingest = operator(tmp_path, ends(ON_HOLD), job="ingest", succeed_on_hold=True)
    result = ingest.execute(context)
    assert (result["on_hold"], result["table_version"]) == (ON_HOLD["on_hold"], 3)
    assert context["reason"] == "On hold: Feed f needs a review."
    assert caplog.records[-1].levelname == "WARNING"


def test_only_a_feed_on_hold_is_left_to_a_task_that_asks(tmp_path: Path) -> None:
    other = {"error": "Precision fell.", "error_type": "rejected", "exit_code": 3}
    with pytest.raises(AirflowFailException, match=r"^Rejected: Precision fell\.$"):
        operator(tmp_path, ends(other), job="ingest", succeed_on_hold=True).execute(fake_context())
    with pytest.raises(AirflowFailException, match=r"^On hold: Feed f needs a review\.$"):
        operator(tmp_path, ends(ON_HOLD), job="ingest").execute(fake_context())


@pytest.mark.parametrize("fields", [{**EMBEDDED, "sped_up": True}, {"embedded": 1}])
def test_a_result_of_another_version_fails_for_good_and_says_so(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    context = fake_context()
    with pytest.raises(AirflowFailException, match="install the same version of both"):
        operator(tmp_path, f"print(json.dumps({fields!r}))").execute(context)
    assert context["reason"].startswith("The result of `recsim embed` is not what this DAG expects: ")
    assert "return_value" not in context["ti"].xcoms


def test_a_killed_job_may_be_retried(tmp_path: Path) -> None:
    with pytest.raises(JobFailedError, match="ended by signal 9"):
        operator(tmp_path, "os.kill(os.getpid(), 9)").execute(fake_context())


def test_exit_0_without_a_result_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(JobFailedError, match="printed no result"):
        operator(tmp_path, "print('all fine')").execute(fake_context())


def test_a_missing_command_is_named_with_what_to_do(tmp_path: Path) -> None:
    job, context = (
        RecsimJobOperator(task_id="embed", job="embed", command=str(tmp_path / "nowhere")),
        fake_context(),
    )
    with pytest.raises(
        AirflowFailException,
        match=r"Cannot run .*nowhere: No such file or directory. .*AIRFLOW__RECSIM__COMMAND",
    ):
        job.execute(context)
    assert context["reason"].startswith("Cannot run ")


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EMFILE])
def test_a_machine_without_memory_or_open_files_is_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def exhausted(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    context = fake_context()
    monkeypatch.setattr(operators, "JobProcess", exhausted)
    with pytest.raises(JobUnavailableError, match=rf"^Cannot start .*recsim now: {os.strerror(code)}\."):
        operator(tmp_path, RESULT).execute(context)
    assert context["reason"].startswith("Cannot start ")


def test_a_job_that_cannot_be_recorded_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(_: str, record: dict[str, Any]) -> None:
        pids.append(record["pid"])
        raise ConnectionError("the API server is away")

    pids: list[int] = []
    context = fake_context()
    monkeypatch.setattr(context["task_state_store"], "set", unavailable)
    with pytest.raises(ConnectionError):
        operator(tmp_path, "time.sleep(600)").execute(context)
    assert not psutil.pid_exists(pids[0])


def test_a_job_that_takes_too_long_is_stopped_and_the_limit_is_the_status_line(tmp_path: Path) -> None:
    def time_out(*_: object) -> None:
        raise AirflowTaskTimeout

    context = fake_context()
    job = operator(tmp_path, "time.sleep(600)", execution_timeout=timedelta(minutes=15))
    before = signal.signal(signal.SIGALRM, time_out)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        with pytest.raises(AirflowTaskTimeout):
            job.execute(context)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert context["reason"] == "recsim embed did not end within its time limit, 0:15:00."
    assert not psutil.pid_exists(context["task_state_store"]["process"]["pid"])


def test_the_command_is_the_configured_one_else_the_one_beside_this_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AIRFLOW__RECSIM__COMMAND", raising=False)
    assert default_command() == str(Path(sys.executable).with_name("recsim"))
    monkeypatch.setenv("AIRFLOW__RECSIM__COMMAND", "/opt/tasks/bin/recsim")
    assert default_command() == "/opt/tasks/bin/recsim"


def test_on_kill_ends_a_running_job(tmp_path: Path) -> None:
    job, context = operator(tmp_path, "print('up', flush=True); time.sleep(600)"), fake_context()

    def kill() -> None:
        while "process" not in context["task_state_store"]:
            time.sleep(0.05)
        job.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    began = time.monotonic()
    with pytest.raises(JobFailedError, match="ended by signal 15"):
        job.execute(context)
    killer.join()
    assert time.monotonic() - began < 5


def test_a_job_that_an_earlier_try_left_running_is_stopped_first(tmp_path: Path) -> None:
    earlier = subprocess.Popen(["sleep", "600"], start_new_session=True)
    context = fake_context()
    context["task_state_store"].set(
        "process", {"pid": earlier.pid, "started": start_time(earlier.pid), "host": socket.gethostname()}
    )
    text = f"import psutil; assert psutil.Process({earlier.pid}).status() == psutil.STATUS_ZOMBIE\n{RESULT}"
    assert operator(tmp_path, text).execute(context) == EMBEDDED
    assert earlier.wait() == -15
    assert context["task_state_store"] == {}


def test_a_record_of_another_host_stops_nothing_here(tmp_path: Path) -> None:
    context = fake_context()
    me = psutil.Process()
    context["task_state_store"].set(
        "process", {"pid": me.pid, "started": me.create_time(), "host": "elsewhere"}
    )
    assert operator(tmp_path, RESULT).execute(context) == EMBEDDED


def branch(**branches: str) -> PlanBranchOperator:
    return PlanBranchOperator(task_id="decide", plan_task="plan", branches=branches)


def test_the_branch_follows_the_decision_and_names_its_reasons() -> None:
    context = fake_context(FakeTaskInstance(plan=PLAN))
    assert branch(skip="up_to_date").choose_branch(context) == "up_to_date"
    assert context["reason"] == "skip: Nothing changed."


def test_a_decision_without_a_branch_is_refused() -> None:
    context = fake_context(FakeTaskInstance(plan=PLAN))
    with pytest.raises(AirflowFailException, match="'skip', for which this DAG has no branch"):
        branch(append="append").choose_branch(context)
    assert context["reason"].startswith("The plan decided 'skip'")


def test_an_up_to_date_run_records_the_cursor() -> None:
    asset, store = Asset("watched"), FakeStateStore()
    context = fake_context(FakeTaskInstance(plan=PLAN), asset_state_store={asset: store})
    UpToDateOperator(task_id="up_to_date", plan_task="plan", catalogue=asset).execute(context)
    assert store["committed"] == PLAN["head"]
    assert context["reason"] == "The champion reflects the catalogue at version 3."


class FakeRun:
    conf = {"mode": "auto", "trails": 3}  # noqa: RUF012


class FakeDag:
    params = {"mode": "auto", "trials": 4}  # noqa: RUF012


def test_a_misspelt_run_parameter_is_refused_by_name() -> None:
    context = fake_context(dag_run=FakeRun(), dag=FakeDag())
    with pytest.raises(AirflowFailException, match=r"Unknown run parameter: trails\. .*: mode, trials\."):
        refuse_unknown_conf(context)
    assert context["reason"].startswith("Unknown run parameter: trails.")
