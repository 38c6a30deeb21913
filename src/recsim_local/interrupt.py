"""End cleanly on Ctrl-C, on SIGTERM, when the terminal is closed, and when `make` is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from recsim_local.console import echo
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.processes import die_with


def run_command(name: str, work: Callable[[], None]) -> int:
    """Run `work` as the command `name`; returns its exit code: 130 after Ctrl-C, that of a `RecsimError`."""
    exit_on_signals()
    die_with(os.getppid())  # `make` may be killed without passing on the signal
    try:
        work()
    except RecsimError as error:
        echo(f"{name}: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        echo("Stopped.")
        return 130
    return 0


def exit_on_signals() -> None:
    """Make SIGTERM and SIGHUP unwind the program as an exception does, so that it stops its servers."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda number, _: sys.exit(128 + number))


def wait_for_interrupt(text: str) -> None:
    """Print `text`, and return on Ctrl-C."""
    echo(text)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
