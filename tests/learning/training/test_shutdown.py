from __future__ import annotations

import os
import signal
import threading
import time

from recsim_tasks.learning.training.shutdown import GracefulShutdown


def test_sigterm_requests_a_shutdown_inside_the_block_only() -> None:
    shutdown, before = GracefulShutdown(), signal.getsignal(signal.SIGTERM)
    with shutdown.handling_sigterm():
        requested_before = shutdown.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert (requested_before, shutdown.requested) == (False, True)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_request_from_another_thread_waits_until_the_block_has_ended() -> None:
    shutdown, ended = GracefulShutdown(), threading.Event()

    def request() -> None:
        shutdown.request()
        assert ended.is_set()

    with shutdown.handling_sigterm():
        thread = threading.Thread(target=request)
        thread.start()
        while not shutdown.requested:
            time.sleep(0.01)
        ended.set()
    thread.join(2)
    assert not thread.is_alive()


def test_a_request_when_nothing_is_to_be_saved_returns_at_once() -> None:
    shutdown = GracefulShutdown()
    shutdown.request()
    assert not shutdown.requested
