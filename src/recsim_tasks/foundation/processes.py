"""Supervision of processes: a job dies with the process that started it, and takes its children along."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil

PR_SET_CHILD_SUBREAPER = 36
# Exits when its pipe is closed, which happens when the watched process has ended.
WATCHDOG = """
import os, select, signal, sys
while True:
    if not select.select([0], [], [], float(sys.argv[2]))[0]:
        process, seconds = sys.argv[1:3]
        sentence = f"ERROR recsim_tasks: Process {process} has been frozen for {seconds} s and is killed"
        print(sentence, file=sys.stderr, flush=True)
        os.kill(int(sys.argv[1]), signal.SIGKILL)
    if not os.read(0, 64):
        break
"""


def die_with(parent: int, before_exit: Callable[[], None] | None = None) -> None:
    """End this process and all its descendants once `parent` has ended and `before_exit` has returned.

    The kernel's parent-death signal is not enough: it is lost if the parent died before this call, and it
    does not reach grandchildren (JVM, Spark worker, Horovod rank) that are in sessions of their own.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    ending = threading.Event()
    guard = threading.Thread(
        target=_watch, args=(parent, ending, before_exit), name="parent-guard", daemon=True
    )
    guard.start()
    # The main thread may finish when the guard ends its children: it must not exit before the guard.
    atexit.register(lambda: guard.join() if ending.is_set() else None)


def end_when_frozen(seconds: float) -> None:
    """Let a watchdog kill this process when it has been stopped, or stuck in the kernel, for `seconds`.

    A frozen process can do nothing itself, and any signal but SIGKILL waits until it runs again.
    """
    watchdog = subprocess.Popen(
        [sys.executable, "-ISc", WATCHDOG, str(os.getpid()), str(seconds)], stdin=subprocess.PIPE
    )

    def beat() -> None:
        while watchdog.poll() is None:
            watchdog.stdin.write(b".")  # type: ignore[union-attr]  # it is a pipe
            watchdog.stdin.flush()  # type: ignore[union-attr]
            time.sleep(min(1.0, seconds / 4))

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()


def end_descendants(pid: int, grace: float) -> None:
    """TERM every descendant of `pid`, wait up to `grace` seconds, KILL what is left."""
    end(descendants(pid), grace)


def descendants(pid: int) -> list[psutil.Process]:
    """All living descendants of `pid`, however many sessions deep."""
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def end(processes: list[psutil.Process], grace: float) -> None:
    """TERM `processes`, wait up to `grace` seconds, KILL what is left."""
    _signal(processes, signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=grace)
    _signal(alive, signal.SIGKILL)


def _watch(parent: int, ending: threading.Event, before_exit: Callable[[], None] | None) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    ending.set()
    if before_exit is not None:
        before_exit()
    end_descendants(os.getpid(), grace=1.0)
    end_descendants(os.getpid(), grace=0.0)  # children started meanwhile
    os._exit(1)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
