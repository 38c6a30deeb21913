from __future__ import annotations

import threading

import pytest

from recsim_tasks.serving.polling import PollingThread


class Polls(PollingThread):
    """Fails at its first poll."""

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__("polls", 0.001, delay)
        self.count, self.reached = 0, threading.Event()

    def poll(self) -> None:
        self.count += 1
        if self.count == 1:
            raise OSError("Too many open files")
        self.reached.set()


def test_polls_go_on_after_one_that_raises_until_the_thread_is_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    polls = Polls()
    polls.start()
    assert polls.reached.wait(10)
    polls.stop()
    assert not polls._thread.is_alive()
    assert [record.getMessage() for record in caplog.records] == [
        "polls: a poll failed; the next one follows"
    ]


def test_a_thread_that_is_stopped_during_its_delay_never_polls() -> None:
    polls = Polls(delay=60)
    polls.start()
    polls.stop()
    assert polls.count == 0
