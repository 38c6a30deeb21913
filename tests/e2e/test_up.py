"""`make up`: runs all servers on the existing state, prints their addresses, and leaves no process behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from process_states import ended, wait_until

pytestmark = [pytest.mark.drill, pytest.mark.e2e]


def test_it_prints_four_addresses_that_answer_and_stops_every_process(tmp_path: Path) -> None:
    env = {**os.environ, "RECSIM_HOME": str(tmp_path / "home")}
    with (tmp_path / "up.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "recsim_local.up"], env=env, stdout=log, stderr=log)
    try:
        output = until_it_runs(process, tmp_path / "up.log")
        pages = dict(re.findall(r"^  (\S[\w ]*\w) +(http\S+)", output, re.MULTILINE))
        assert list(pages) == ["Airflow", "MLflow", "Shop", "HTTP API"]
        assert {
            name: httpx.get(page, follow_redirects=True, timeout=30).status_code
            for name, page in pages.items()
        } == dict.fromkeys(pages, 200)
        assert (tmp_path / "home" / "inbox").is_dir()
        family = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert len(family) > 4
    assert wait_until(lambda: all(ended(process.pid) for process in family), 20)


def until_it_runs(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 180
    while "All servers run until" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    return log.read_text()
