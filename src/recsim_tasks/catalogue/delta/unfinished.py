"""What a kill leaves of a table that was being created: a folder with a log, and no commit in it."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import cast

from recsim_tasks.foundation.errors import InputError

log = logging.getLogger(__name__)

LOG = "_delta_log"
# What Delta's writers leave beside commits: commits that were not renamed yet, checksums, data files that no commit names.
LEFT_OVER = re.compile(
    rf"{LOG}/\.?[^/]*\.(tmp|crc)|{LOG}/_(commits|staged_commits|sidecars)/[^/]*\.(tmp|crc)"
    r"|(_change_data/)?([^/=]+=[^/]*/)*\.?(part|cdc)-[^/]+\.parquet(\.crc)?|\.?deletion_vector_[^/]+\.bin(\.crc)?"
)


def remove_unfinished(uri: str) -> None:
    """Remove what an ended creation left at `uri`, where there is no table; the caller holds the table's lease.

    Only a log without commits goes, with the data files that no commit names. `InputError` when anything else lies there.
    """
    folder = _folder(uri)
    found = _entries(folder)
    names, begun = (
        [name for name in found if not name.endswith("/")],
        any(name.startswith(f"{LOG}/") for name in found),
    )
    if foreign := [name for name in names if not LEFT_OVER.fullmatch(name)]:
        raise InputError(
            f"{uri} holds {foreign[0]} and is no Delta table, so that none can be created there. "
            "Move away what lies there, or set another location for the table, then run this again."
        )
    if names and not begun:
        raise InputError(
            f"{uri} holds {names[0]} and no {LOG}: it is no Delta table. Move it away, then run this again."
        )
    if begun:
        log.info(f"The table at {uri} was begun and never finished: what is left of it is removed.")
        _empty(folder)


def _folder(uri: str) -> Path:
    from upath import UPath

    return cast("Path", UPath(uri)) if "://" in uri else Path(uri)


def _entries(folder: Path) -> list[str]:
    """Everything under `folder` by its path in it; a folder ends with a slash."""
    if isinstance(folder, type(Path())):
        found = ((path, path.is_dir() and not path.is_symlink()) for path in folder.rglob("*"))
        return sorted(path.relative_to(folder).as_posix() + "/" * is_folder for path, is_folder in found)
    root, store = folder.path.rstrip("/"), folder.fs  # type: ignore[attr-defined]  # a `UPath`
    store.invalidate_cache()
    details = store.find(root, withdirs=True, detail=True)
    names = {
        name.removeprefix(root).strip("/") + "/" * (name.endswith("/") or about["type"] == "directory")
        for name, about in details.items()
    }
    return sorted(names - {"", "/"})


def _empty(folder: Path) -> None:
    """Remove what is in `folder`, which may itself be a link to another disk."""
    if not isinstance(folder, type(Path())):
        folder.fs.rm(folder.path, recursive=True)  # type: ignore[attr-defined]
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
