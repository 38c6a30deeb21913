from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from process_states import ended, wait_until
from recsim_tasks.foundation.processes import descendants, end

pytestmark = pytest.mark.process

# A starter starts a job, the job starts a child in a session of its own that ignores TERM; all wait.
CHILD = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', flush=True)
time.sleep(60)
"""
JOB = f"""
import os, subprocess, sys, time
from recsim_tasks.foundation.processes import die_with
GUARD
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""
STARTER = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""
GUARDED = "die_with(os.getppid())"
UNGUARDED = "pass"


def start_tree(guard: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A starter, and the job and its child which are to end with it."""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, JOB.replace("GUARD", guard)], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout
    with starter.stdout as printed:
        return starter, [psutil.Process(int(pid)) for pid in printed.readline().split()]


def kill_starter(guard: str, wait: float) -> list[psutil.Process]:
    """Processes that are still alive `wait` seconds after the starter was killed."""
    starter, tree = start_tree(guard)
    starter.kill()
    starter.wait(10)
    return left_of(tree, wait)


def left_of(tree: list[psutil.Process], wait: float) -> list[psutil.Process]:
    """Processes still alive after `wait` seconds; in a container nobody may reap those that have ended."""
    wait_until(lambda: all(ended(process.pid) for process in tree), wait)
    return [process for process in tree if not ended(process.pid)]


def test_a_job_and_its_child_that_ignores_term_end_with_a_killed_starter() -> None:
    assert kill_starter(GUARDED, wait=10) == []


def test_without_the_guard_they_live_on() -> None:
    left = kill_starter(UNGUARDED, wait=2)
    end(left, grace=0)
    assert len(left) == 2


def test_a_starter_that_has_ended_before_the_guard_starts_is_noticed() -> None:
    job = subprocess.Popen(
        [sys.executable, "-c", JOB.replace("GUARD", "die_with(999_999_999)")], stdout=subprocess.DEVNULL
    )
    assert job.wait(10) == 1


def test_descendants_are_found_across_sessions_and_ended_though_they_ignore_term() -> None:
    starter, tree = start_tree(UNGUARDED)
    assert set(descendants(starter.pid)) == set(tree)
    end([psutil.Process(starter.pid), *tree], grace=0.3)
    starter.wait(10)
    assert left_of(tree, wait=5) == []


def test_a_process_that_has_ended_has_no_descendants() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(10)
    assert descendants(ended.pid) == []
