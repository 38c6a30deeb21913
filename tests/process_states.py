"""What tests of processes share: whether one has ended, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil


def ended(pid: int) -> bool:
    """Whether process `pid` does not exist or is a zombie."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait up to `seconds` for `condition`, and return whether it holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.05)
    return condition()
