"""Remove what a killed job leaves of a table that it was creating: a folder with a log that has no commit."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import cast

from recsim_tasks.catalogue.delta.log import LOG_FOLDER
from recsim_tasks.foundation.errors import ConfigurationError

log = logging.getLogger(__name__)

# What Delta's writers leave beside commits: uncommitted temporary files, checksums, and data files that no
# commit names.
LEFTOVER = re.compile(
    rf"{LOG_FOLDER}/\.?[^/]*\.(tmp|crc)|{LOG_FOLDER}/_(commits|staged_commits|sidecars)/[^/]*\.(tmp|crc)"
    r"|(_change_data/)?([^/=]+=[^/]*/)*\.?(part|cdc)-[^/]+\.parquet(\.crc)?|\.?deletion_vector_[^/]+\.bin(\.crc)?"
)


def remove_unfinished(uri: str) -> None:
    """Remove the remains of a creation at `uri`, where there is no table; the caller has its lease.

    Removes only a log without commits, with the data files that no commit names. Raises `ConfigurationError`
    if anything else is there: that is no fault of the feed that was to be written.
    """
    folder = _folder(uri)
    entries = _entries(folder)
    files = [name for name in entries if not name.endswith("/")]
    has_log = any(name.startswith(f"{LOG_FOLDER}/") for name in entries)
    if foreign := [name for name in files if not LEFTOVER.fullmatch(name)]:
        raise ConfigurationError(
            f"No table can be created at {uri}: it is not a Delta table and contains {foreign[0]}. "
            "Move its contents away or set another location for the table, then run this again."
        )
    if files and not has_log:
        raise ConfigurationError(
            f"{uri} contains {files[0]} and no {LOG_FOLDER}: it is not a Delta table. Move its contents "
            "away, then run this again."
        )
    if has_log:
        log.warning("The creation of the table at %s was interrupted; removing what it left.", uri)
        _remove_contents(folder)


def _folder(uri: str) -> Path:
    from upath import UPath

    return cast("Path", UPath(uri)) if "://" in uri else Path(uri)


def _entries(folder: Path) -> list[str]:
    """Return the paths of everything under `folder`, relative to it; those of folders end with a slash."""
    if isinstance(folder, type(Path())):
        paths = ((path, path.is_dir() and not path.is_symlink()) for path in folder.rglob("*"))
        return sorted(path.relative_to(folder).as_posix() + "/" * is_folder for path, is_folder in paths)
    root, store = folder.path.rstrip("/"), folder.fs  # type: ignore[attr-defined]  # a `UPath`
    store.invalidate_cache()
    details = store.find(root, withdirs=True, detail=True)
    names = {
        name.removeprefix(root).strip("/") + "/" * (name.endswith("/") or about["type"] == "directory")
        for name, about in details.items()
    }
    return sorted(names - {"", "/"})


def _remove_contents(folder: Path) -> None:
    """Empty `folder` but keep it: it may be a link to another disk."""
    if not isinstance(folder, type(Path())):
        folder.fs.rm(folder.path, recursive=True)  # type: ignore[attr-defined]
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
