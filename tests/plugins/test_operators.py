from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.sdk.exceptions import AirflowFailException

from recsim_airflow.job_process import start_time
from recsim_airflow.operators import (
    DecisionBranchOperator,
    JobFailedError,
    JobUnavailableError,
    RecsimJobOperator,
    refuse_unknown_conf,
)

pytestmark = pytest.mark.airflow


class FakeTaskInstance:
    """What an operator sees of its task instance."""

    def __init__(self, pulled: Any = None) -> None:
        self.xcoms: dict[str, Any] = {}
        self.pulled = pulled

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str) -> Any:
        return self.pulled


class FakeStore(dict[str, Any]):
    """A state store that lives in memory."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


def context(**more: Any) -> Any:
    return {"ti": FakeTaskInstance(), "task_state_store": FakeStore(), **more}


def operator(tmp_path: Path, text: str, **more: Any) -> RecsimJobOperator:
    command = tmp_path / "recsim"
    command.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{text}\n")
    command.chmod(0o755)
    job = RecsimJobOperator(task_id="embed", job="embed", command=str(command), **more)
    job.refresh_id = "manual__2026-01-01T00:00:00+00:00"
    return job


def test_the_last_line_is_the_result_and_the_rest_is_log_at_info(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "print('warning', file=sys.stderr)\nprint('chatter')\nprint(json.dumps({'embedded': 1, 'reused': 2, 'of': 3}))"
    around = context()
    assert operator(tmp_path, text).execute(around) == {"embedded": 1, "reused": 2, "of": 3}
    log = capfd.readouterr().out
    for line in ("warning", "chatter"):
        assert re.search(rf"\[info +\] {line} ", log)
    assert '"embedded": 1' not in log
    assert around["reason"] == around["ti"].xcoms["reason"] == "embedded 1 of 3, reused 2"


def test_the_job_gets_its_arguments_the_refresh_and_no_secret_of_airflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("RECSIM_HOME", "/somewhere")
    text = "print(json.dumps({'argv': sys.argv[1:], 'env': dict(os.environ), 'stdin': sys.stdin.read(), 'session': os.getsid(0) == os.getpid()}))"
    result = operator(tmp_path, text, arguments=["--size", "3"], environment={"MORE": "1"}).execute(context())
    assert result["argv"] == ["embed", "--size", "3", "--refresh", "manual__2026-01-01T00:00:00+00:00"]
    assert result["env"]["RECSIM_HOME"] == "/somewhere"
    assert result["env"]["MORE"] == "1"
    assert result["env"]["RECSIM_PARENT_PID"] == str(os.getpid())
    assert not [name for name in result["env"] if name.startswith("AIRFLOW__")]
    assert result["stdin"] == ""
    assert result["session"]


def test_exit_1_may_be_retried(tmp_path: Path) -> None:
    around = context()
    text = "print(json.dumps({'error': 'Spark went away.', 'exit_code': 1})); sys.exit(1)"
    with pytest.raises(JobFailedError, match=r"^Spark went away\.$") as raised:
        operator(tmp_path, text).execute(around)
    assert not isinstance(raised.value, AirflowFailException | JobUnavailableError)
    assert around["ti"].xcoms == {"reason": "Spark went away."}


def test_what_is_away_is_told_apart_from_what_failed(tmp_path: Path) -> None:
    around = context()
    away = {"error": "MLflow does not answer.", "error_type": "unavailable", "exit_code": 1}
    with pytest.raises(JobUnavailableError, match=r"^MLflow does not answer\.$"):
        operator(tmp_path, f"print(json.dumps({away!r})); sys.exit(1)").execute(around)
    assert around["ti"].xcoms == {"reason": "MLflow does not answer."}


def test_exit_2_fails_for_good_with_the_jobs_own_sentence(tmp_path: Path) -> None:
    text = "print(json.dumps({'error': 'No catalogue yet. Deliver a feed.', 'exit_code': 2})); sys.exit(2)"
    with pytest.raises(AirflowFailException, match=r"^No catalogue yet\. Deliver a feed\.$"):
        operator(tmp_path, text).execute(context())


def test_exit_3_holds_for_good_and_still_hands_on_the_result(tmp_path: Path) -> None:
    around = context()
    held = {"verdict": "hold", "reasons": ["Precision fell."], "error": "Precision fell.", "exit_code": 3}
    with pytest.raises(AirflowFailException, match=r"^Held: Precision fell\.$"):
        operator(tmp_path, f"print(json.dumps({held!r})); sys.exit(3)").execute(around)
    assert around["ti"].xcoms == {"return_value": held, "reason": "Held: Precision fell."}
    assert around["reason"] == "Held: Precision fell."


def test_a_held_feed_is_handed_on_to_who_asks(tmp_path: Path) -> None:
    around = context()
    held = {"on_hold": {"feed_id": "f"}, "table_version": 3, "error": "Feed f waits.", "exit_code": 3}
    text = f"print(json.dumps({held!r})); sys.exit(3)"
    assert operator(tmp_path, text, hands_on_held=True).execute(around) == held
    assert around["reason"] == "Held: Feed f waits."


def test_only_what_can_be_asked_about_is_handed_on(tmp_path: Path) -> None:
    text = "print(json.dumps({'error': 'Precision fell.', 'exit_code': 3})); sys.exit(3)"
    with pytest.raises(AirflowFailException, match=r"^Held: Precision fell\.$"):
        operator(tmp_path, text, hands_on_held=True).execute(context())


def test_a_job_that_was_shot_may_be_retried(tmp_path: Path) -> None:
    with pytest.raises(JobFailedError, match="ended by signal 9"):
        operator(tmp_path, "os.kill(os.getpid(), 9)").execute(context())


def test_a_good_end_without_a_result_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(JobFailedError, match="its last line is no result"):
        operator(tmp_path, "print('all fine')").execute(context())


def test_a_missing_command_is_said_with_what_to_do(tmp_path: Path) -> None:
    job = RecsimJobOperator(task_id="embed", job="embed", command=str(tmp_path / "nowhere"))
    with pytest.raises(
        AirflowFailException,
        match=r"nowhere cannot be run: No such file or directory. .*AIRFLOW__RECSIM__COMMAND",
    ):
        job.execute(context())


def test_the_command_is_the_configured_one_else_the_one_beside_this_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from recsim_airflow.operators import default_command

    monkeypatch.delenv("AIRFLOW__RECSIM__COMMAND", raising=False)
    assert default_command() == str(Path(sys.executable).with_name("recsim"))
    monkeypatch.setenv("AIRFLOW__RECSIM__COMMAND", "/opt/tasks/bin/recsim")
    assert default_command() == "/opt/tasks/bin/recsim"


def test_on_kill_ends_a_running_job(tmp_path: Path) -> None:
    job, around = operator(tmp_path, "print('up', flush=True); time.sleep(600)"), context()

    def kill() -> None:
        while "process" not in around["task_state_store"]:
            time.sleep(0.05)
        job.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    began = time.monotonic()
    with pytest.raises(JobFailedError, match="ended by signal 15"):
        job.execute(around)
    killer.join()
    assert time.monotonic() - began < 5


def test_a_job_that_an_earlier_try_left_running_is_ended_first(tmp_path: Path) -> None:
    earlier = subprocess.Popen(["sleep", "600"], start_new_session=True)
    around = context()
    around["task_state_store"].set(
        "process", {"pid": earlier.pid, "started": start_time(earlier.pid), "host": socket.gethostname()}
    )
    text = f"import psutil; p = psutil.Process({earlier.pid}); print(json.dumps({{'alive': p.status() != psutil.STATUS_ZOMBIE}}))"
    assert operator(tmp_path, text).execute(around) == {"alive": False}
    assert earlier.wait() == -15
    assert around["task_state_store"] == {}


def test_a_record_of_another_host_ends_nothing_here(tmp_path: Path) -> None:
    around = context()
    me = psutil.Process()
    around["task_state_store"].set(
        "process", {"pid": me.pid, "started": me.create_time(), "host": "elsewhere"}
    )
    assert operator(tmp_path, "print('{}')").execute(around) == {}


def test_the_branch_follows_the_decision_and_says_why() -> None:
    around = context()
    around["ti"] = FakeTaskInstance({"decision": "skip", "reasons": ["Nothing changed."]})
    branch = DecisionBranchOperator(task_id="decide", plan_task="plan", branches={"skip": "up_to_date"})
    assert branch.choose_branch(around) == "up_to_date"
    assert around["reason"] == "up_to_date: Nothing changed."


def test_a_decision_without_a_branch_is_refused() -> None:
    around = context()
    around["ti"] = FakeTaskInstance({"decision": "dance", "reasons": []})
    with pytest.raises(AirflowFailException, match="'dance', which this DAG has no branch for"):
        DecisionBranchOperator(
            task_id="decide", plan_task="plan", branches={"skip": "up_to_date"}
        ).choose_branch(around)


class FakeRun:
    conf = {"mode": "auto", "trails": 3}  # noqa: RUF012


class FakeDag:
    params = {"mode": "auto", "trials": 4}  # noqa: RUF012


def test_a_misspelt_run_setting_is_refused_by_name() -> None:
    around = context(dag_run=FakeRun(), dag=FakeDag())
    with pytest.raises(
        AirflowFailException, match=r"Unknown run setting trails. This DAG takes mode, trials"
    ):
        refuse_unknown_conf(around)
    assert around["reason"].startswith("Unknown run setting trails.")
