"""Care for processes: a job dies with who started it, and takes its own children along."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import threading
import time

import psutil

PR_SET_CHILD_SUBREAPER = 36


def die_with(parent: int) -> None:
    """End this process and all its descendants as soon as process `parent` is gone.

    The kernel's signal alone does not do: it is lost if the parent died before this call, and it reaches no
    grandchild (JVM, Spark worker, Horovod rank) that has made itself a session of its own.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    ending = threading.Event()
    guard = threading.Thread(target=_watch, args=(parent, ending), name="parent-guard", daemon=True)
    guard.start()
    # The main thread may come to its end when the guard takes its children away: it must not leave before the guard is done.
    atexit.register(lambda: guard.join() if ending.is_set() else None)


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


def _watch(parent: int, ending: threading.Event) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    ending.set()
    end_descendants(os.getpid(), grace=1.0)
    end_descendants(os.getpid(), grace=0.0)  # what was born meanwhile
    os._exit(1)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
