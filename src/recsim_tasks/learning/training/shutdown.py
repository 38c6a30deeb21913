"""Graceful shutdown: a training that must end saves a checkpoint first, if that is quick enough."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Airflow kills a task five seconds after it has sent SIGTERM.
GRACE_SECONDS = 3.0


class GracefulShutdown:
    """Whether this process must end: it received SIGTERM, or the process that started it is gone."""

    def __init__(self) -> None:
        self._requested, self._done, self._handling = threading.Event(), threading.Event(), False

    @property
    def requested(self) -> bool:
        """Whether to end now."""
        return self._requested.is_set()

    @contextmanager
    def handling_sigterm(self) -> Iterator[None]:
        """Let SIGTERM request a shutdown instead of ending the process; in the main thread only."""
        before = signal.signal(signal.SIGTERM, lambda *_: self._requested.set())
        self._handling = True
        try:
            yield
        finally:
            self._handling = False
            self._done.set()
            signal.signal(signal.SIGTERM, before)

    def request(self) -> None:
        """Request a shutdown from another thread; waits for the end of the block, three seconds at most."""
        if self._handling:
            self._requested.set()
            self._done.wait(GRACE_SECONDS)
