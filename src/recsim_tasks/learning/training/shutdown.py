"""A training that is told to end keeps a checkpoint first, if that takes no longer than whoever ends it waits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Airflow kills five seconds after it has told a task to end.
FAREWELL_SECONDS = 3.0


class Ending:
    """Whether this process is told to end: by SIGTERM, or because who started it is gone."""

    def __init__(self) -> None:
        self._asked, self._done, self._listening = threading.Event(), threading.Event(), False

    @property
    def asked(self) -> bool:
        """Whether to end now."""
        return self._asked.is_set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """For as long as it lasts, SIGTERM asks instead of ending this process at once. The main thread's alone."""
        before = signal.signal(signal.SIGTERM, lambda *_: self._asked.set())
        self._listening = True
        try:
            yield
        finally:
            self._listening = False
            self._done.set()
            signal.signal(signal.SIGTERM, before)

    def farewell(self) -> None:
        """Ask, from another thread, and wait until what had to be done is done, three seconds at most."""
        if self._listening:
            self._asked.set()
            self._done.wait(FAREWELL_SECONDS)
