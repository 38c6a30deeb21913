"""End in good order: on Ctrl-C, on TERM, and with the terminal."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import suppress

from recsim_local.console import say


def leave_in_order_on_term() -> None:
    """Make TERM and HUP unwind the program as an error would, so that what it started is stopped."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda number, _: sys.exit(128 + number))


def until_interrupted(sentence: str) -> None:
    """Say `sentence` and return on Ctrl-C."""
    say(sentence)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
