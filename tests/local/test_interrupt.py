from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import os, signal, sys, time
from recsim_local.interrupt import exit_on_signals
exit_on_signals()
try:
    os.kill(os.getpid(), signal.Signals[sys.argv[1]])
    time.sleep(0.2)
    print("still running")
finally:
    print("cleaned up")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_unwinds_the_program(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, name], capture_output=True, text=True, check=False)
    assert (done.stdout.split("\n")[0], done.returncode) == ("cleaned up", 143 if name == "SIGTERM" else 129)


def test_under_nohup_the_program_ignores_the_end_of_the_terminal() -> None:
    done = subprocess.run(
        ["nohup", sys.executable, "-c", CODE, "SIGHUP"], capture_output=True, text=True, check=False
    )
    assert (done.stdout.split("\n")[:2], done.returncode) == (["still running", "cleaned up"], 0)


@pytest.mark.parametrize(
    ("work", "code", "last"),
    [
        ("print('done')", 0, ""),
        ("raise InputError('No feed.')", 2, "make it: No feed."),
        ("raise KeyboardInterrupt", 130, "Stopped."),
    ],
)
def test_a_command_ends_with_an_exit_code_and_a_sentence(work: str, code: int, last: str) -> None:
    program = f"""
import sys
from recsim_local.interrupt import run_command
from recsim_tasks.foundation.errors import InputError
def work():
    {work}
sys.exit(run_command("make it", work))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (code, last)
