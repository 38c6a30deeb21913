"""One writer a table, one trainer a refresh: an exclusive lease, freed by the kernel when its holder dies."""

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

from recsim_tasks.foundation.errors import ConfigurationError, RecsimError
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.text import one_line

# What stands in the way, as against a disk that is full or a process without descriptors.
NO_LEASE_FILE = (IsADirectoryError, NotADirectoryError, FileExistsError, PermissionError)


@contextmanager
def lease(home: Path, resource: str, timeout: float = 600) -> Iterator[None]:
    """Hold `resource` (a table's location, a workspace) alone; wait up to `timeout` seconds for it.

    A `flock` on this machine's `home`: writers on several machines need a log store with conditional puts instead.
    """
    folder = home.absolute() / "leases"
    path = folder / f"{hashlib.sha256(resource.encode()).hexdigest()[:16]}.lock"
    lock = FileLock(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=timeout)
    except NO_LEASE_FILE as error:
        raise ConfigurationError(
            f"The lease {path} of {resource} cannot be taken: {error}. Move away what lies there, or make the folder "
            "writable (RECSIM_HOME says where it is), then run this again."
        ) from error
    except Timeout as error:
        raise RecsimError(
            f"{resource} is in use: {_owner(path)} holds its lease for more than {timeout:.0f} s. Wait for that job or end it, then run this one again."
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
