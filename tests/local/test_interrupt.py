from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import os, signal, sys, time
from recsim_local.interrupt import leave_in_order_on_term
leave_in_order_on_term()
try:
    os.kill(os.getpid(), signal.Signals[sys.argv[1]])
    time.sleep(0.2)
    print("goes on")
finally:
    print("in order")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_what_was_started_is_ended_in_order_on_a_signal(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, name], capture_output=True, text=True, check=False)
    assert (done.stdout.split("\n")[0], done.returncode) == ("in order", 143 if name == "SIGTERM" else 129)


def test_under_nohup_the_end_of_the_terminal_is_nobodys_business() -> None:
    done = subprocess.run(
        ["nohup", sys.executable, "-c", CODE, "SIGHUP"], capture_output=True, text=True, check=False
    )
    assert (done.stdout.split("\n")[:2], done.returncode) == (["goes on", "in order"], 0)
