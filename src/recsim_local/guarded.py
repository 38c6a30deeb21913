"""Runs a command that cannot outlive the process that started it, even if that process is killed.

`start` puts a small guard process in between. It forwards SIGTERM, adopts every orphan of the command's
process tree, and ends the whole tree when the command ends, on SIGTERM, or when the starting process has
ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from recsim_tasks.foundation.processes import descendants, die_with, end_descendants

# Seconds that a command has to end after SIGTERM, and after it the rest of its process tree.
GRACE_SECONDS = 8.0
ORPHANS_GRACE_SECONDS = 2.0


def start(command: list[str], log: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start `command` under a guard, with its output appended to `log`; it ends with the calling process."""
    log.parent.mkdir(parents=True, exist_ok=True)
    guard = [sys.executable, "-P", __file__, str(os.getpid()), *command]
    with log.open("ab") as output:
        return subprocess.Popen(
            guard,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a guarded command and its process tree, and wait for the end of both."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=GRACE_SECONDS + 2 * ORPHANS_GRACE_SECONDS + 2)
    except subprocess.TimeoutExpired:
        tree = descendants(process.pid)
        process.kill()
        for member in tree:
            _send(member.pid, signal.SIGKILL)
        process.wait()


def guard(parent: int, command: list[str]) -> int:
    """Run `command` until it ends, on SIGTERM, or when `parent` has ended; return its exit code."""
    die_with(parent)
    child = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _terminate(child.pid))
    exit_code = _reap_until(child.pid)
    end_descendants(os.getpid(), ORPHANS_GRACE_SECONDS)
    end_descendants(os.getpid(), 0.0)  # processes that were started meanwhile
    return exit_code if exit_code >= 0 else 128 - exit_code


def _terminate(child: int) -> None:
    """Send SIGTERM to the command, and SIGKILL by an alarm if it does not end in time."""
    signal.signal(signal.SIGALRM, lambda *_: _send(child, signal.SIGKILL))
    signal.alarm(int(GRACE_SECONDS))
    _send(child, signal.SIGTERM)


def _reap_until(child: int) -> int:
    """Wait for `child` and reap the orphans that this process has adopted."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1]), sys.argv[2:]))
