"""Where feeds lie: brought here from an object store, and moved aside in the inbox once they are dealt with."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.feed import MANIFEST
from recsim_tasks.foundation.publishing import fsync_directory, write_json
from recsim_tasks.foundation.settings import Settings

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
    copy = settings.home.absolute() / "arrivals" / feed.name
    shutil.rmtree(copy, ignore_errors=True)
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        feed.fs.get(feed.path, str(copy), recursive=True)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def move_aside(feed: Path | UPath, where: str, note: dict[str, Any] | None = None) -> None:
    """Move a feed into `where` of its inbox, with a `note` beside its rows when there is something to say.

    In an object store the feed is copied, then its manifest goes, then the rest: a move that was cut short is no feed any more.
    """
    name = f"{time.time_ns()}-{feed.name}"
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
    """What was noted of the feeds that were moved into `where`."""
    try:
        found = [folder / NOTE for folder in (inbox / where).iterdir()]
        return [json.loads(path.read_text()) for path in found if path.exists()]
    except FileNotFoundError:
        return []


def _rename(feed: Path, target: Path, note: dict[str, Any] | None) -> None:
    target.parent.mkdir(exist_ok=True)
    feed.rename(target)
    fsync_directory(target.parent)
    if note is not None:
        write_json(target / NOTE, note)
