"""Poll in a thread, until it is stopped."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

log = logging.getLogger(__name__)


class PollingThread(ABC):
    """Calls `poll` in a daemon thread, every `interval` seconds, until it is stopped.

    It waits for `delay` seconds first. A poll that raises is logged, and the next one follows.
    """

    def __init__(self, name: str, interval: float, delay: float = 0.0) -> None:
        self._interval, self._delay = interval, delay
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def poll(self) -> None:
        """Look once whether something has changed."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current poll."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        self._stopping.wait(self._delay)
        while not self._stopping.is_set():
            try:
                self.poll()
            except Exception as error:
                log.error("%s: a poll failed; the next one follows", self._thread.name, exc_info=error)
            self._stopping.wait(self._interval)
