"""What lies in the inbox: closed feeds in order of arrival, and what is no feed. Looking never waits and never stops at one entry."""

from __future__ import annotations

import hashlib
import stat
import time
from pathlib import Path
from typing import NamedTuple

from recsim_tasks.catalogue.feeds.manifest import MANIFEST, manifest_bytes, parsed
from recsim_tasks.foundation.reading import kind_of
from recsim_tasks.foundation.text import one_line

# Writing one manifest takes no longer; a broken one is not waited for any longer.
SETTLED_SECONDS = 60.0
# A large feed is copied into its folder file by file. A folder of which nothing changed for a minute is not being delivered.
STILL_SECONDS = 60.0
ENTRIES_LOOKED_AT = 1000


class Stray(NamedTuple):
    """An entry of the inbox that is no feed, and why."""

    name: str
    reason: str


def closed_feeds(inbox: Path) -> list[Path]:
    """Feeds whose manifest is there and whole, in order of arrival; folders with a leading dot are none of ours.

    A manifest that is no JSON object is still being written, unless it has been still for a minute: then the feed counts as closed,
    so that ingest says what is wrong with it. So does a feed whose manifest cannot be read at all. `inbox` is a folder or a `UPath`
    of an object store; one that does not exist is empty, one that cannot be read raises `OSError`.
    """
    arrived = [
        (at, folder.name, folder) for folder in _entries(inbox) if (at := _closed_at(folder)) is not None
    ]
    return [folder for _, _, folder in sorted(arrived, key=lambda entry: entry[:2])]


def strays(inbox: Path) -> list[Stray]:
    """What lies in the inbox and is no feed; a folder without a manifest only after a minute without a change, since it may become one."""
    found = []
    for entry in _entries(inbox):
        try:
            reason = _stray(entry)
        except OSError as error:
            reason = (
                None
                if isinstance(error, FileNotFoundError)
                else f"cannot be looked at: {error.strerror or error}"
            )
        if reason:
            found.append(Stray(one_line(entry.name), reason))
    return sorted(found)


def mark_of(feed: Path) -> str:
    """What tells a delivery from the next one under the same name: the manifest's content and time."""
    at = _touched(feed / MANIFEST)
    try:
        content = hashlib.sha256(manifest_bytes(feed)).hexdigest()[:16]
    except (OSError, ValueError):
        content = "unreadable"
    return f"{content}-{at}"


def _entries(inbox: Path) -> list[Path]:
    """All but those with a leading dot, and the object by which a store marks the folder itself."""
    try:
        return [
            entry
            for entry in inbox.iterdir()
            if entry.name and not entry.name.startswith(".") and entry != inbox
        ]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        if getattr(inbox, "protocol", ""):  # an object store has no empty folders
            return []
        raise


def _closed_at(folder: Path) -> float | None:
    """When the feed's manifest was written, in Unix seconds; None when the folder is no closed feed."""
    try:
        at = _touched(folder / MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        if _on_this_machine(folder):
            return None  # this entry cannot be looked at, the others can
        raise
    settled = abs(time.time() - at) > SETTLED_SECONDS
    return at if _is_whole(folder) or settled else None


def _is_whole(folder: Path) -> bool:
    if _on_this_machine(folder) and folder.is_symlink():
        return False
    try:
        parsed(manifest_bytes(folder))
    except (OSError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _stray(entry: Path) -> str | None:
    """Why an entry is no feed; None when it is one, or may become one."""
    mode = entry.lstat().st_mode if _on_this_machine(entry) else entry.stat().st_mode
    if not stat.S_ISDIR(mode):
        return None if _has(entry, MANIFEST) else f"is {kind_of(mode)}; a feed is a folder with {MANIFEST}"
    if _has(entry, MANIFEST):
        return None
    inside = [path for path, _ in zip(entry.iterdir(), range(ENTRIES_LOOKED_AT), strict=False)]
    alike = sorted(path.name for path in inside if path.name.lower() == MANIFEST)
    if alike:
        return f"has no {MANIFEST}, but {alike[0]}: rename it"
    return f"has no {MANIFEST}; the sender writes that file last" if _is_still([entry, *inside]) else None


def _has(folder: Path, name: str) -> bool:
    try:
        _touched(folder / name)
    except OSError:
        return False
    return True


def _is_still(entries: list[Path]) -> bool:
    return time.time() - max(map(_touched, entries)) > STILL_SECONDS


def _touched(path: Path) -> float:
    """When an entry was changed last, in Unix seconds; a link itself, not where it leads."""
    return path.lstat().st_mtime if _on_this_machine(path) else path.stat().st_mtime


def _on_this_machine(path: Path) -> bool:
    return isinstance(path, type(Path()))
