"""End cleanly on Ctrl-C, on SIGTERM, and when the terminal is closed."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import suppress

from recsim_local.console import echo


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
