"""Where feeds lie: brought here from an object store, and moved aside in the inbox once they are dealt with."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.feeds.manifest import MANIFEST
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import fsync_directory, write_json
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.text import folder_name, one_line

if TYPE_CHECKING:
    from upath import UPath

# Beside the feeds, so that moving one aside is a rename; with a leading dot, so that nobody takes it for a feed.
APPLIED, REFUSED = ".applied", ".refused"
NOTE = "note.json"


@contextmanager
def at_hand(settings: Settings, feed: Path | UPath) -> Iterator[Path]:
    """The feed's folder on this machine: itself, or a copy for as long as it is needed."""
    if isinstance(feed, Path):
        yield feed
        return
    copy = settings.home.absolute() / "arrivals" / folder_name(feed.name)  # the store lets a name be ".."
    shutil.rmtree(copy, ignore_errors=True)
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(feed, copy)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _fetch(feed: UPath, copy: Path) -> None:
    """Copy a feed's objects; a store lets a name lead anywhere, and be a file and a folder at once (`InputError`)."""
    names = [name.removeprefix(feed.path) for name in feed.fs.find(feed.path)]
    if strange := [name for name in names if {".", ".."} & set(name.split("/"))]:
        raise InputError(
            f"Feed {one_line(feed.name)} holds the object {one_line(strange[0])!r}, whose name leads out of it. Deliver it again."
        )
    try:
        feed.fs.get(feed.path, str(copy), recursive=True)
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise InputError(
            f"Feed {one_line(feed.name)} holds an object whose name is a folder of another: {one_line(error)}. Deliver it again."
        ) from error


def move_aside(feed: Path | UPath, where: str, note: dict[str, Any] | None = None) -> None:
    """Move a feed into `where` of its inbox, with a `note` beside its rows when there is something to say.

    In an object store the feed is copied, then its manifest goes, then the rest: a move that was cut short is no feed any more.
    """
    name = f"{time.time_ns()}-{folder_name(feed.name)}"
    if isinstance(feed, Path):
        _rename(feed, feed.parent / where / name, note)
        return
    target = feed.parent / where / name
    feed.fs.copy(feed.path, target.path, recursive=True)
    if note is not None:
        (target / NOTE).write_text(json.dumps(note))
    feed.fs.rm((feed / MANIFEST).path)
    feed.fs.rm(feed.path, recursive=True)


def notes(inbox: Path | UPath, where: str) -> list[dict[str, Any]]:
    """What was noted of the feeds that were moved into `where`; a note that cannot be read says nothing."""
    found = []
    for path in _notes(inbox / where):
        try:
            note = read_json(path) if isinstance(path, Path) else json.loads(path.read_text())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(note, dict):
            found.append(note)
    return found


def _notes(folder: Path | UPath) -> list[Path | UPath]:
    """Beside the rows; of what is no folder, or has something else under that name, behind its own name."""
    try:
        entries: list[Path | UPath] = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [entry if entry.name.endswith(f".{NOTE}") else entry / NOTE for entry in entries]


def _rename(feed: Path, target: Path, note: dict[str, Any] | None) -> None:
    target.parent.mkdir(exist_ok=True)
    feed.rename(target)
    fsync_directory(target.parent)
    if note is not None:
        taken = target.is_symlink() or not target.is_dir() or os.path.lexists(target / NOTE)
        write_json(target.with_name(f"{target.name}.{NOTE}") if taken else target / NOTE, note)
