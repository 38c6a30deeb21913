"""One job as a process of its own session: its lines as they come, and an end that leaves nothing behind."""

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

# Airflow kills a task five seconds after it was asked to stop: TERM gets this much of it, seconds.
GRACE = 3.5
POLL = 0.2
# A training takes every core it gets; the scheduler and the serving beside it go first.
NICENESS = 5
CHUNK = 1 << 16


class JobProcess:
    """A running command that dies with this process (`RECSIM_PARENT_PID`) and can be ended as a whole."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,  # else it keeps the supervisor's socket open after the task runner is gone
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
        """Yield each line of both outputs as it comes, until the job is gone.

        A grandchild may hold the pipes open for longer than the job lives: its silence ends the reading then.
        """
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None
        assert stderr is not None
        rest: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        with selectors.DefaultSelector() as selector, stdout, stderr:
            selector.register(stdout, selectors.EVENT_READ, "stdout")
            selector.register(stderr, selectors.EVENT_READ, "stderr")
            while selector.get_map():
                gone = self._process.poll() is not None
                ready = selector.select(0 if gone else POLL)
                if gone and not ready:
                    break
                for key, _ in ready:
                    yield from self._read(selector, key, rest)
        for stream, data in rest.items():
            if data:
                yield stream, _text(data)

    def wait(self) -> int:
        """Wait for the end; the exit code, negative for the signal that ended it."""
        return self._process.wait()

    def stop(self, grace: float = GRACE) -> None:
        """TERM the job and every descendant, wait up to `grace` seconds, KILL what is left, however many sessions deep."""
        family = descendants(self.pid)
        if self._process.poll() is None:
            self._process.terminate()
        _end(family, grace, until=lambda: self._process.poll() is not None)
        if self._process.poll() is None:
            self._process.kill()
        with suppress(
            ProcessLookupError
        ):  # orphans of the job's group, of whom nobody is the parent any more
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    @staticmethod
    def _read(
        selector: selectors.BaseSelector, key: selectors.SelectorKey, rest: dict[Stream, bytes]
    ) -> Iterator[tuple[Stream, str]]:
        pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]
        stream: Stream = key.data
        data = os.read(pipe.fileno(), CHUNK)
        if not data:
            selector.unregister(pipe)
            return
        *whole, rest[stream] = (rest[stream] + data).replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            if line:
                yield stream, _text(line)


def start_time(pid: int) -> float:
    """When process `pid` began, seconds since the epoch; 0 if it is already gone."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def end_recorded(pid: int, started: float) -> bool:
    """End process `pid` with all its descendants if it is still the one that began at `started`; say whether it was."""
    if not psutil.pid_exists(pid) or abs(start_time(pid) - started) > 1:
        return False
    _end([psutil.Process(pid), *descendants(pid)], GRACE)
    return True


def _end(family: list[psutil.Process], grace: float, until: Callable[[], bool] = lambda: True) -> None:
    """TERM `family`, wait up to `grace` seconds for its end and `until`, KILL what is left and what it bore meanwhile.

    A dead process that nobody has waited for counts as gone; psutil's own `wait_procs` would sit out the whole grace,
    and could take the job's exit code away from `Popen`.
    """
    for member in family:
        _send(member, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and not (until() and not any(map(_alive, family))):
        time.sleep(0.05)
    newborn = [child for member in family if _alive(member) for child in descendants(member.pid)]
    for member in [*family, *newborn]:
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
