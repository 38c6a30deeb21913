"""One writer per table, one trainer per refresh: a lease that the kernel frees when its holder dies."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from recsim_tasks.foundation.errors import ConfigurationError, UnavailableError
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.text import one_line

# The path is blocked. A full disk or a lack of file descriptors is an outage instead.
BLOCKED = (IsADirectoryError, NotADirectoryError, FileExistsError, PermissionError)


@contextmanager
def lease(home: Path, resource: str, timeout: float = 600) -> Iterator[None]:
    """Acquire `resource` (a table's location, a workspace) exclusively; wait up to `timeout` seconds.

    Raises `UnavailableError` if another process holds it for longer, and `ConfigurationError` if its file
    cannot be opened.

    The lease is a `flock` under `home` and excludes processes of this machine only: writers on several
    machines need a log store with conditional puts.
    """
    folder = home.absolute() / "leases"
    path = folder / f"{hashlib.sha256(resource.encode()).hexdigest()[:16]}.lock"
    lock = FileLock(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=timeout)
    except BLOCKED as error:
        raise ConfigurationError(
            f"The lease {path} of {resource} cannot be acquired: {error}. Move away what is at that path, "
            "or make its folder writable (it is under RECSIM_HOME), then run this again."
        ) from error
    except Timeout as error:
        raise UnavailableError(
            f"{resource} is in use: {_owner(path)} has held its lease for more than {timeout:.0f} s. "
            "Wait for that job or end it, then run this one again."
        ) from error
    try:
        owner = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.time(),
            "resource": redacted(resource),
        }
        path.write_text(json.dumps(owner))
        yield
    finally:
        lock.release()


def _owner(path: Path) -> str:
    try:
        owner = read_json(path)
        return f"process {int(owner['pid'])} on {one_line(owner['host'])}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
