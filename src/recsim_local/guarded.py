"""Run a command so that it cannot outlive who started it: not even `kill -9` of the starter leaves a process.

`start` puts a small process in between. It forwards TERM, takes in every orphan of the command's tree, and ends the
whole tree when the command ends, when it is told to, or when the starter is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from recsim_tasks.foundation.processes import descendants, die_with, end_descendants

# How long a command may take to end by itself after TERM, and its leftovers after that, seconds.
GRACE = 8.0
LEFTOVERS_GRACE = 2.0


def start(command: list[str], log: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start `command` guarded, its output appended to `log`; it dies with the calling process."""
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
    """End a guarded command with all that it started; returns when the last of it is gone."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=GRACE + 2 * LEFTOVERS_GRACE + 2)
    except subprocess.TimeoutExpired:
        tree = descendants(process.pid)
        process.kill()
        for member in tree:
            _send(member.pid, signal.SIGKILL)
        process.wait()


def guard(parent: int, command: list[str]) -> int:
    """Run `command` as this process's child until it ends, TERM comes, or `parent` is gone; give its exit code."""
    die_with(parent)
    child = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _ask_to_end(child.pid))
    exit_code = _reap_until(child.pid)
    end_descendants(os.getpid(), LEFTOVERS_GRACE)
    end_descendants(os.getpid(), 0.0)  # what was born meanwhile
    return exit_code if exit_code >= 0 else 128 - exit_code


def _ask_to_end(child: int) -> None:
    """TERM the command; the alarm ends it if it does not comply."""
    signal.signal(signal.SIGALRM, lambda *_: _send(child, signal.SIGKILL))
    signal.alarm(int(GRACE))
    _send(child, signal.SIGTERM)


def _reap_until(child: int) -> int:
    """Wait for `child`, burying on the way the orphans that came to this process."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1]), sys.argv[2:]))
