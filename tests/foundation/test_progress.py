from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from recsim_tasks.foundation.progress import progress

WORK = """
from recsim_tasks.foundation.progress import progress
with progress("Embedding", 50, "images") as advance:
    for _ in range(50):
        advance(1)
print('{"embedded": 50}')
"""


def test_a_log_gets_a_line_for_each_tenth(caplog: pytest.LogCaptureFixture) -> None:
    with progress("Embedding", 1_000, "images") as advance:
        for _ in range(1_000):
            advance(1)
    lines = caplog.messages
    assert len(lines) == 11
    assert lines[4].startswith("Embedding: 500 of 1,000 images (50%), about ")
    assert lines[-1].startswith("Embedding: 1,000 images in ")


def test_work_of_size_nothing_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    with progress("Embedding", 0, "images"):
        pass
    assert caplog.text.endswith("Embedding: 0 images in 0.0 s\n")


def test_work_that_fails_is_not_told_as_done(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError), progress("Embedding", 10, "images"):
        raise ZeroDivisionError
    assert caplog.messages == []


def test_a_terminal_gets_a_bar_and_stdout_only_the_result() -> None:
    screen, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        timeout=60,
        check=True,
    )
    os.close(terminal)
    shown = os.read(screen, 65_536).decode()
    os.close(screen)
    assert done.stdout == '{"embedded": 50}\n'
    assert "Embedding" in shown
    assert "50/50" in shown
