"""Fetch feeds from an object store, and move them aside in the inbox when they are done."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from recsim_tasks.catalogue.feeds.feed_manifest import MANIFEST
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import fsync_directory, write_json
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.text import folder_name, one_line

if TYPE_CHECKING:
    from upath import UPath

# Inside the inbox, so that moving a feed is a rename; with a leading dot, so that the folder is not taken for
# a feed.
APPLIED, REFUSED = ".applied", ".refused"
NOTE = "note.json"


class RefusalNote(BaseModel):
    """Why a feed was refused, in a file beside it; with feed and person when a person refused it."""

    model_config = ConfigDict(frozen=True)

    reason: str = ""
    feed_id: str | None = None
    digest: str | None = None
    by: str | None = None
    at: float | None = None
    """Seconds since the epoch."""


@contextmanager
def local_copy(settings: Settings, feed: Path | UPath) -> Iterator[Path]:
    """Yield the feed's folder on this machine: itself, or a temporary copy if it is in an object store."""
    if isinstance(feed, Path):
        yield feed
        return
    copy = settings.home.absolute() / "arrivals" / folder_name(feed.name)  # a store allows the name ".."
    shutil.rmtree(copy, ignore_errors=True)
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(feed, copy)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _fetch(feed: UPath, copy: Path) -> None:
    """Download a feed; `InputError` for names that a store allows and a file system does not."""
    names = [name.removeprefix(feed.path) for name in feed.fs.find(feed.path)]
    if outside := [name for name in names if {".", ".."} & set(name.split("/"))]:
        raise InputError(
            f"Feed {one_line(feed.name)} contains the object {one_line(outside[0])!r}, whose name leads out "
            "of it. Deliver it again."
        )
    try:
        feed.fs.get(feed.path, str(copy), recursive=True)
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise InputError(
            f"Feed {one_line(feed.name)} contains an object whose name is also a folder: {one_line(error)}. "
            "Deliver it again."
        ) from error


def move_aside(feed: Path | UPath, where: str, note: RefusalNote | None = None) -> None:
    """Move a feed into the folder `where` of its inbox, and put a `note` beside its rows.

    In an object store the feed is copied, then its manifest is deleted, then the rest: an interrupted move
    leaves no feed.
    """
    name = f"{time.time_ns()}-{folder_name(feed.name)}"
    if isinstance(feed, Path):
        _rename(feed, feed.parent / where / name, note)
        return
    target = feed.parent / where / name
    feed.fs.copy(feed.path, target.path, recursive=True)
    if note is not None:
        (target / NOTE).write_text(note.model_dump_json(exclude_none=True))
    feed.fs.rm((feed / MANIFEST).path)
    feed.fs.rm(feed.path, recursive=True)


def read_notes(inbox: Path | UPath, where: str) -> list[RefusalNote]:
    """Return the notes of the feeds in the folder `where` of the inbox; unreadable ones are skipped."""
    notes = []
    for path in _note_paths(inbox / where):
        try:
            value = read_json(path) if isinstance(path, Path) else json.loads(path.read_text())
            notes.append(RefusalNote.model_validate(value))
        except (OSError, ValueError, RecursionError):
            continue
    return notes


def _note_paths(folder: Path | UPath) -> list[Path | UPath]:
    """List the notes: in each feed's folder, or beside it where `_rename` could not write into it."""
    try:
        entries: list[Path | UPath] = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [entry if entry.name.endswith(f".{NOTE}") else entry / NOTE for entry in entries]


def _rename(feed: Path, target: Path, note: RefusalNote | None) -> None:
    target.parent.mkdir(exist_ok=True)
    feed.rename(target)
    fsync_directory(target.parent)
    if note is not None:
        blocked = target.is_symlink() or not target.is_dir() or os.path.lexists(target / NOTE)
        path = target.with_name(f"{target.name}.{NOTE}") if blocked else target / NOTE
        write_json(path, note.model_dump(exclude_none=True))
