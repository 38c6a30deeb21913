"""Runs a job as a process in a session of its own, yields its output by line, and leaves no orphan behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Literal

import psutil

from recsim_tasks.foundation.processes import descendants

Stream = Literal["stdout", "stderr"]

# Seconds between TERM and KILL. Airflow kills a task five seconds after it asked it to stop.
GRACE_SECONDS = 3.5
POLL_SECONDS = 0.2
# A training takes every core that it gets; scheduler and serving on the same machine have priority.
NICENESS = 5
CHUNK_BYTES = 1 << 16


class JobProcess:
    """A running command that ends with this process (`RECSIM_PARENT_PID`) and stops with its descendants.

    :param command: program and arguments
    :param environment: its whole environment
    """

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,  # else it would keep the supervisor's socket open
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment, "RECSIM_PARENT_PID": str(os.getpid())},
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.started = start_time(self.pid)
        with suppress(psutil.NoSuchProcess):
            psutil.Process(self.pid).nice(min(os.nice(0) + NICENESS, 19))

    def lines(self) -> Iterator[tuple[Stream, str]]:
        """Yield the lines of stdout and stderr as they come, until the job has ended.

        A grandchild may keep the pipes open for longer than the job runs: reading ends when it is silent.
        """
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None
        assert stderr is not None
        partial: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        with selectors.DefaultSelector() as selector, stdout, stderr:
            selector.register(stdout, selectors.EVENT_READ, "stdout")
            selector.register(stderr, selectors.EVENT_READ, "stderr")
            while selector.get_map():
                ended = self._process.poll() is not None
                ready = selector.select(0 if ended else POLL_SECONDS)
                if ended and not ready:
                    break
                for key, _ in ready:
                    yield from self._read(selector, key, partial)
        for stream, data in partial.items():
            if data:
                yield stream, _text(data)

    def wait(self) -> int:
        """Wait for the end and return the exit code, negative for the signal that ended it."""
        return self._process.wait()

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Send TERM to the job and its descendants in all sessions, and KILL after `grace` seconds."""
        family = descendants(self.pid)
        if self._process.poll() is None:
            self._process.terminate()
        _terminate(family, grace, until=lambda: self._process.poll() is not None)
        if self._process.poll() is None:
            self._process.kill()
        with suppress(ProcessLookupError):  # orphans of the job's group, which are no descendants any more
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    @staticmethod
    def _read(
        selector: selectors.BaseSelector, key: selectors.SelectorKey, partial: dict[Stream, bytes]
    ) -> Iterator[tuple[Stream, str]]:
        pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]
        stream: Stream = key.data
        data = os.read(pipe.fileno(), CHUNK_BYTES)
        if not data:
            selector.unregister(pipe)
            return
        *whole, partial[stream] = (partial[stream] + data).replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            if line:
                yield stream, _text(line)


def start_time(pid: int) -> float:
    """Start of process `pid` in seconds since the epoch; 0 if it does not exist."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def stop_recorded(pid: int, started: float) -> bool:
    """Stop process `pid` and its descendants if it started at `started`; return whether it did."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - started) > 1:
            return False
    except psutil.NoSuchProcess:
        return False
    _terminate([process, *descendants(pid)], GRACE_SECONDS)
    return True


def _terminate(family: list[psutil.Process], grace: float, until: Callable[[], bool] = lambda: True) -> None:
    """Send TERM to `family`, wait up to `grace` seconds for its end and for `until`, then send KILL.

    A zombie counts as ended. psutil's own `wait_procs` would wait for it until the deadline, and could take
    the job's exit code away from `Popen`. KILL also goes to children that were started meanwhile.
    """
    for member in family:
        _send(member, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and not (until() and not any(map(_alive, family))):
        time.sleep(0.05)
    children = [child for member in family if _alive(member) for child in descendants(member.pid)]
    for member in [*family, *children]:
        _send(member, signal.SIGKILL)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
