"""Publish files atomically: write beside the target, fsync all of it, write the receipt last, rename."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.reading import kind_of

CHUNK = 1 << 20
# <fcntl.h>, <linux/fs.h>
AT_FDCWD = -100
RENAME_EXCHANGE = 2
# Marks the name of a file or folder that is not published yet; a random suffix follows.
STAGED = ".staged-"


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON: atomic, and durable on return."""
    write_text(path, json.dumps(value, indent=1, default=str))


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text`: atomic, and durable on return."""
    if path.is_dir() and not path.is_symlink():
        raise InputError(
            f"There is a folder at {path}, where a file must be written. Move it away, then run this again."
        )
    with _staged(path, folder=False) as staged:
        with staged.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
        fsync_directory(path.parent)


@contextmanager
def publishing(target: Path) -> Iterator[Path]:
    """Yield a folder to fill beside `target`: renamed to `target` on success, removed on error.

    A folder that an earlier try of the same work left at `target` is replaced in the same step.
    """
    with _staged(target, folder=True) as staged:
        yield staged
        fsync_tree(staged)
        if os.path.lexists(target):
            _swap(staged, target)
        else:
            staged.rename(target)
        fsync_directory(target.parent)


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """Yield an empty folder under `parent`, removed at the end; after a kill, by the next use of `parent`."""
    with _staged(parent / "scratch", folder=True) as staged:
        yield staged


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, durable on return."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(new):
        fsync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove the folder, file or link at `path`, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _staged(target: Path, folder: bool) -> Iterator[Path]:
    """A hidden file or folder beside `target`, locked while this process lives."""
    make_folder(target.parent)
    _remove_leftovers(target.parent)
    path, lock = _create(target, folder)
    try:
        yield path
    finally:
        try:
            remove(path)
        finally:
            if lock is not None:
                os.close(lock)


def _create(target: Path, folder: bool) -> tuple[Path, int | None]:
    while True:
        path = target.with_name(f".{target.name[:200]}{STAGED}{secrets.token_hex(4)}")
        path.mkdir() if folder else path.touch(exist_ok=False)
        try:
            lock = _lock(path)
        except (BlockingIOError, FileNotFoundError):
            continue  # another process took it for a leftover
        except OSError:
            return path, None  # a file system without locks, where leftovers stay
        if os.path.lexists(path):
            return path, lock
        os.close(lock)


def _lock(path: Path) -> int:
    """Lock a staged file or folder; `BlockingIOError` while its creator lives."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_leftovers(parent: Path) -> None:
    """Remove staged files and folders of killed processes from `parent`."""
    for path in parent.glob(f".*{STAGED}*"):
        with suppress(OSError):
            lock = _lock(path)
            try:
                remove(path)
            finally:
                os.close(lock)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def digests(folder: Path, leave_out: str | None = None) -> dict[str, str]:
    """SHA-256 of every file under `folder` except `leave_out`, by relative path.

    Only regular files are opened. The digest of a symbolic link is that of its target's path.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())
    return {name: _entry_digest(p) for p in files if (name := p.relative_to(folder).as_posix()) != leave_out}


def _entry_digest(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISREG(mode):
        return file_digest(path)
    where = os.fsencode(path.readlink()) if stat.S_ISLNK(mode) else b""
    return hashlib.sha256(kind_of(mode).encode() + b"\0" + where).hexdigest()


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def check_digests(folder: Path, expected: dict[str, str], leave_out: str) -> None:
    """Raise `InputError` unless the files of `folder` are exactly `expected`, by name and content."""
    actual = digests(folder, leave_out)
    wrong = sorted(name for name in actual.keys() | expected.keys() if actual.get(name) != expected.get(name))
    if wrong:
        raise InputError(
            f"{folder} does not match its manifest: {', '.join(wrong)} missing, added or changed. "
            "Make or fetch it again."
        )


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Hard-link where the file system can, else copy: published files are never written to again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def fsync_directory(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_parents(path: Path) -> None:
    """Make the folders around `path` durable, after another program has created them."""
    for folder in path.parents:
        if os.access(folder, os.R_OK):
            fsync_directory(folder)


def _swap(one: Path, other: Path) -> None:
    """Exchange two folders in one system call, so that a kill leaves either the old or the new one."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        raise OSError(
            ctypes.get_errno(),
            f"{other} cannot be exchanged with {one}: this file system has no atomic exchange",
        )


def fsync_tree(folder: Path) -> None:
    """Make `folder` and everything in it durable."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            fsync_directory(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
