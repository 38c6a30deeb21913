"""End in good order: on Ctrl-C, and on TERM as well."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import suppress

from recsim_tasks.foundation.progress import say


def leave_in_order_on_term() -> None:
    """Make TERM unwind the program as an error would, so that what it started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def until_interrupted(sentence: str) -> None:
    """Say `sentence` and return on Ctrl-C."""
    say(sentence)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
