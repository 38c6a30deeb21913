"""`kill -9` of the process that started the stack leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recsim_tasks.foundation.settings import Settings

pytestmark = [pytest.mark.drill, pytest.mark.e2e]
START_SECONDS, END_SECONDS = 120, 20


def running_on(home: Path) -> list[psutil.Process]:
    """Every process that runs on the state under `home`."""
    processes = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("RECSIM_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return processes


def test_every_process_ends_when_the_starting_one_is_killed(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        starter = subprocess.Popen(
            [sys.executable, "-m", "recsim_local.up"],
            env=os.environ,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while "until Ctrl-C" not in log.read_text():
        assert starter.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
    assert len(running_on(settings.home)) > 8
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    deadline = time.monotonic() + END_SECONDS
    while (left := running_on(settings.home)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == []
