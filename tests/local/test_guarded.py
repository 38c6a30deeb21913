from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from process_states import ended, wait_until
from recsim_local import guarded

pytestmark = pytest.mark.process

# A command with a child in a session of its own; both ignore SIGTERM.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, __file__, "child"], start_new_session=True)
    print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
# A command that ends at once and leaves a daemon behind.
LEAVING = """
import subprocess
print(subprocess.Popen(["sleep", "600"], start_new_session=True).pid, flush=True)
"""


def command(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "command.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def pids(log: Path, count: int) -> list[int]:
    assert wait_until(lambda: log.exists() and len(log.read_text().split()) >= count, 20)
    return [int(pid) for pid in log.read_text().split()]


def test_the_output_goes_to_the_log_and_the_exit_code_is_returned(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "command.log"
    process = guarded.start(
        command(tmp_path, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(5)"),
        log,
        dict(os.environ),
    )
    assert process.wait() == 5
    assert sorted(log.read_text().split()) == ["err", "out"]


def test_a_command_that_obeys_sigterm_is_stopped_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = guarded.start(
        command(tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(600)"),
        log,
        dict(os.environ),
    )
    (pid,) = pids(log, 1)
    began = time.monotonic()
    guarded.stop(process)
    assert ended(pid)
    assert time.monotonic() - began < 4


def test_a_command_and_a_child_that_ignore_sigterm_are_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = guarded.start(command(tmp_path, STUBBORN), log, dict(os.environ))
    family = pids(log, 2)
    guarded.stop(process)
    assert all(map(ended, family))


def test_a_command_that_ends_leaves_no_process_behind(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = guarded.start(command(tmp_path, LEAVING), log, dict(os.environ))
    assert process.wait() == 0
    assert all(map(ended, pids(log, 1)))


def test_no_process_is_left_when_the_starting_process_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = f"""
import os, time
from pathlib import Path
from recsim_local import guarded
guarded.start({command(tmp_path, STUBBORN)!r}, Path({str(log)!r}), dict(os.environ))
time.sleep(600)
"""
    starter = subprocess.Popen(
        [sys.executable, "-c", text], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    family = pids(log, 2)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    assert wait_until(lambda: all(map(ended, family)), 8)
