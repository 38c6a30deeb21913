"""Read small files that others may have written: only regular files, and only up to a limit."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

LARGEST = 64 << 20


class NotAFileError(ValueError):
    """The path is no regular file, or the file is larger than the limit."""


def read_small(path: Path, largest: int = LARGEST) -> bytes:
    """The content of a regular file of at most `largest` bytes.

    Raises `NotAFileError` for anything else and `OSError` when it cannot be read. Opening never blocks, as it
    would for a pipe without a writer.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotAFileError(f"is {kind_of(status.st_mode)}, not a file")
        if status.st_size > largest:
            raise NotAFileError(f"has {status.st_size:,} bytes, more than {largest:,}")
        with open(descriptor, "rb", closefd=False) as file:  # a descriptor has no path
            content = file.read(largest + 1)
    finally:
        os.close(descriptor)
    if len(content) > largest:
        raise NotAFileError(f"has grown to more than {largest:,} bytes while it was read")
    return content


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """The JSON value in a regular file; `ValueError` if it has none, `OSError` if it cannot be read."""
    try:
        return json.loads(read_small(path, largest))
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error


def kind_of(mode: int) -> str:
    """The kind of a file, from its mode."""
    kinds = {
        stat.S_ISREG: "a file",
        stat.S_ISDIR: "a folder",
        stat.S_ISLNK: "a symbolic link",
        stat.S_ISFIFO: "a pipe",
        stat.S_ISSOCK: "a socket",
    }
    return next((name for test, name in kinds.items() if test(mode)), "a device")
