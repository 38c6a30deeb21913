from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from process_states import ended, wait_until
from recsim_airflow.job_process import JobProcess, start_time, stop_recorded

pytestmark = pytest.mark.process

# A job, its child, and a grandchild in a session of its own; the last one ignores SIGTERM.
FAMILY = """
import os, subprocess, sys, time
from recsim_tasks.foundation.processes import die_with
die_with(int(os.environ["RECSIM_PARENT_PID"]))
ignore = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
stubborn = ignore + "; print(os.getpid(), flush=True); time.sleep(600)"
run = f"subprocess.run([sys.executable, '-c', {stubborn!r}], start_new_session=True)"
child = "import subprocess, sys; " + run
print(os.getpid(), flush=True)
subprocess.run([sys.executable, "-c", child])
"""


def script(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "job.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def test_both_outputs_come_line_by_line_while_the_job_runs(tmp_path: Path) -> None:
    text = "import sys, time; print('one', flush=True); time.sleep(1.5); print('two', file=sys.stderr)"
    text += "; print('10%\\r20%'); print('last', end='')"
    process = JobProcess(script(tmp_path, text), dict(os.environ))
    came = [(time.monotonic(), stream, line) for stream, line in process.lines()]
    assert process.wait() == 0
    assert came[0][1:] == ("stdout", "one")
    assert came[1][0] - came[0][0] > 1
    assert sorted(line[1:] for line in came[1:]) == [
        ("stderr", "two"),
        ("stdout", "10%"),
        ("stdout", "20%"),
        ("stdout", "last"),
    ]


def test_a_job_has_a_lower_priority_than_the_scheduler(tmp_path: Path) -> None:
    process = JobProcess(
        script(tmp_path, "import os, time; time.sleep(0.5); print(os.nice(0))"), dict(os.environ)
    )
    assert [line for _, line in process.lines()] == [str(os.nice(0) + 5)]


def test_a_daemon_that_keeps_the_pipes_open_does_not_keep_the_task(tmp_path: Path) -> None:
    text = "import subprocess; subprocess.Popen(['sleep', '60']); print('done')"
    process = JobProcess(script(tmp_path, text), dict(os.environ))
    began = time.monotonic()
    assert [line for _, line in process.lines()] == ["done"]
    assert time.monotonic() - began < 10
    process.stop(grace=0)


def test_a_job_and_its_descendants_are_stopped_in_less_than_five_seconds(tmp_path: Path) -> None:
    process = JobProcess(script(tmp_path, FAMILY), dict(os.environ))
    lines = process.lines()
    job, grandchild = int(next(lines)[1]), int(next(lines)[1])
    family = [job, *(member.pid for member in psutil.Process(job).children(recursive=True))]
    assert grandchild in family
    assert os.getsid(grandchild) == grandchild
    assert len(family) == 3
    began = time.monotonic()
    process.stop()
    assert time.monotonic() - began < 4.5
    assert wait_until(lambda: all(map(ended, family)), 0.5)


def test_a_job_that_ends_on_sigterm_is_stopped_at_once(tmp_path: Path) -> None:
    process = JobProcess(
        script(tmp_path, "import time; print('up', flush=True); time.sleep(600)"), dict(os.environ)
    )
    next(process.lines())
    began = time.monotonic()
    process.stop(grace=60)
    assert time.monotonic() - began < 15
    assert process.wait() == -signal.SIGTERM


def test_a_job_and_its_descendants_end_when_the_task_is_killed(tmp_path: Path) -> None:
    command = script(tmp_path, FAMILY)
    text = f"""
import os
from process_states import ended, wait_until
from recsim_airflow.job_process import JobProcess
for _, line in JobProcess({command!r}, dict(os.environ)).lines():
    print(line, flush=True)
"""
    task = subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert task.stdout is not None
    pids = [int(task.stdout.readline()), int(task.stdout.readline())]
    task.kill()
    task.wait()
    task.stdout.close()
    assert wait_until(lambda: all(map(ended, pids)), 5)


def test_a_process_of_an_earlier_try_is_stopped(tmp_path: Path) -> None:
    process = JobProcess(script(tmp_path, FAMILY), dict(os.environ))
    lines = process.lines()
    pids = [int(next(lines)[1]), int(next(lines)[1])]
    assert stop_recorded(process.pid, process.started)
    assert wait_until(lambda: all(map(ended, pids)), 1)
    process.wait()


def test_another_process_with_the_same_pid_is_not_stopped() -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        assert not stop_recorded(bystander.pid, start_time(bystander.pid) - 100)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
