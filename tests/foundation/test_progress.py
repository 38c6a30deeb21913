from __future__ import annotations

import os
import pty
import subprocess
import sys
from itertools import count

import pytest

from recsim_tasks.foundation.progress import progress

WORK = """
from recsim_tasks.foundation.progress import progress
with progress("Embedding", 50, "images") as advance:
    for _ in range(50):
        advance(1)
print('{"embedded": 50}')
"""


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count(0, 1)
    monkeypatch.setattr("recsim_tasks.foundation.progress.time.monotonic", lambda: next(clock))
    with progress("Embedding", 40, "images") as advance:
        for _ in range(40):
            advance(1)
    assert caplog.messages == [
        "Embedding: 10 of 40 images (25%), about 30 s left",
        "Embedding: 20 of 40 images (50%), about 20 s left",
        "Embedding: 30 of 40 images (75%), about 10 s left",
        "Embedding: 40 of 40 images (100%), about 0 s left",
        "Embedding: 40 images in 41.0 s",
    ]


def test_work_without_any_items_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    with progress("Embedding", 0, "images"):
        pass
    assert caplog.text.endswith("Embedding: 0 images in 0.0 s\n")


def test_work_that_fails_is_not_logged_as_done(caplog: pytest.LogCaptureFixture) -> None:
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
