"""List the inbox: its closed feeds in order of arrival, and entries that are not feeds.

Listing never blocks, and an unreadable entry hides no other.
"""

from __future__ import annotations

import hashlib
import stat
import time
from pathlib import Path

from recsim_tasks.catalogue.feeds.feed_manifest import MANIFEST, parse_json_object, read_manifest_bytes
from recsim_tasks.contracts import StrayEntry
from recsim_tasks.foundation.reading import kind_of
from recsim_tasks.foundation.text import one_line

# A manifest that is still unreadable this long after its last change is broken, not being written.
SETTLED_SECONDS = 60.0
# A large feed is copied into its folder file by file. A folder without a change for a minute is not being
# delivered.
STILL_SECONDS = 60.0
MAX_ENTRIES_CHECKED = 1000


def closed_feeds(inbox: Path) -> list[Path]:
    """Return the folders with a complete manifest, in order of arrival; those with a leading dot are ignored.

    A manifest that is not a JSON object counts as still being written. If it has not changed for a minute,
    the feed counts as closed, so that ingest reports what is wrong with it; so does a feed whose manifest
    cannot be read. `inbox` is a folder or a `UPath` of an object store; one that does not exist is empty, one
    that cannot be read raises `OSError`.
    """
    arrived = [
        (at, folder.name, folder) for folder in _entries(inbox) if (at := _closed_at(folder)) is not None
    ]
    return [folder for _, _, folder in sorted(arrived, key=lambda entry: entry[:2])]


def stray_entries(inbox: Path) -> list[StrayEntry]:
    """Return the entries that are not feeds.

    A folder without manifest may become a feed, so it is listed after a minute without a change only.
    """
    strays = []
    for entry in _entries(inbox):
        try:
            reason = _stray_reason(entry)
        except OSError as error:
            reason = (
                None
                if isinstance(error, FileNotFoundError)
                else f"cannot be examined: {error.strerror or error}"
            )
        if reason:
            strays.append(StrayEntry(name=one_line(entry.name), reason=reason))
    return sorted(strays, key=lambda stray: stray.name)


def mark_of(feed: Path) -> str:
    """Content and time of a feed's manifest, which tell its delivery from later ones under the same name."""
    at = _changed_at(feed / MANIFEST)
    try:
        content = hashlib.sha256(read_manifest_bytes(feed)).hexdigest()[:16]
    except (OSError, ValueError):
        content = "unreadable"
    return f"{content}-{at}"


def _entries(inbox: Path) -> list[Path]:
    """List all entries except hidden ones and the object with which a store marks the folder itself."""
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
    """Return when the manifest was written, in Unix seconds; None when the folder is not a closed feed."""
    try:
        at = _changed_at(folder / MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        if _on_this_machine(folder):
            return None  # this entry cannot be examined, others can
        raise
    settled = abs(time.time() - at) > SETTLED_SECONDS
    return at if _is_complete(folder) or settled else None


def _is_complete(folder: Path) -> bool:
    if _on_this_machine(folder) and folder.is_symlink():
        return False
    try:
        parse_json_object(read_manifest_bytes(folder))
    except (OSError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _stray_reason(entry: Path) -> str | None:
    """Return why an entry is not a feed; None if it is one or may become one."""
    mode = entry.lstat().st_mode if _on_this_machine(entry) else entry.stat().st_mode
    if not stat.S_ISDIR(mode):
        return None if _has(entry, MANIFEST) else f"is {kind_of(mode)}; a feed is a folder with {MANIFEST}"
    if _has(entry, MANIFEST):
        return None
    inside = [path for path, _ in zip(entry.iterdir(), range(MAX_ENTRIES_CHECKED), strict=False)]
    misspelt = sorted(path.name for path in inside if path.name.lower() == MANIFEST)
    if misspelt:
        return f"has no {MANIFEST}, but {misspelt[0]}: rename it"
    return f"has no {MANIFEST}, which the sender writes last" if _is_still([entry, *inside]) else None


def _has(folder: Path, name: str) -> bool:
    try:
        _changed_at(folder / name)
    except OSError:
        return False
    return True


def _is_still(entries: list[Path]) -> bool:
    return time.time() - max(map(_changed_at, entries)) > STILL_SECONDS


def _changed_at(path: Path) -> float:
    """Return when an entry last changed, in Unix seconds; of a link, the link itself."""
    return path.lstat().st_mtime if _on_this_machine(path) else path.stat().st_mtime


def _on_this_machine(path: Path) -> bool:
    return isinstance(path, type(Path()))
