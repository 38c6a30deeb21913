"""A delivered feed: its manifest, the file of its rows, and the checks that need no row."""

from __future__ import annotations

import errno
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from recsim_tasks.catalogue.feeds.feed_manifest import MANIFEST, Manifest, read_manifest, stays_inside
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import digest_of, digests
from recsim_tasks.foundation.reading import kind_of
from recsim_tasks.foundation.text import is_one_line, one_line

ROW_FILES = ("products.parquet", "products.csv", "products.jsonl")
GLOB = re.compile(r"([\[\]{}*?\\])")
# Errors of the machine or the storage, not of the feed.
ENVIRONMENT_ERRORS = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
}


@dataclass(frozen=True)
class Feed:
    """A closed feed, as far as it is known before its rows are read."""

    folder: Path
    manifest: Manifest
    source: Path
    """The file of the rows, or the folder of its parts."""
    undone_at: int | None = None
    """The version of the RESTORE that has undone an earlier application of the feed, if one has."""

    @property
    def format(self) -> str:
        """`parquet`, `csv` or `jsonl`."""
        return self.source.suffix[1:]

    @property
    def feed_id(self) -> str:
        """The id in the manifest."""
        return self.manifest.feed_id

    @property
    def spark_path(self) -> str:
        """The source with glob characters escaped: Spark takes a path for a pattern."""
        return GLOB.sub(r"\\\1", str(self.source))

    @property
    def application(self) -> str:
        """The feed's application id for Delta's transactions."""
        return f"recsim-feed:{self.feed_id}" + ("" if self.undone_at is None else f" after {self.undone_at}")

    @property
    def transaction(self) -> int:
        """The feed's transaction number: the first 60 bits of its digest, which fit Delta's signed 64."""
        return int(self.digest[:15], 16)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the names and contents of all files; tells two deliveries under one id apart."""
        return digest_of(digests(self.folder))


def open_feed(folder: Path) -> Feed:
    """Read the manifest, find the file of the rows and compute the digest; `InputError` if that fails.

    Opens regular files only, and nothing outside the folder.
    """
    try:
        feed = _open(folder)
        feed.digest  # noqa: B018  # reads every file, so that an unreadable one is found here
    except (RecursionError, MemoryError, ValueError) as error:
        raise InputError(
            f"The feed in {one_line(folder)} cannot be read: {one_line(error) or type(error).__name__}. "
            "Deliver it again."
        ) from error
    except OSError as error:
        if error.errno in ENVIRONMENT_ERRORS or isinstance(error, FileNotFoundError):
            raise
        raise InputError(
            f"The feed in {one_line(folder)} cannot be read: {one_line(error)}. Correct it and deliver it "
            "again."
        ) from error
    return feed


def _open(folder: Path) -> Feed:
    if not folder.is_dir():
        raise InputError(
            f"There is no feed directory {one_line(folder)}. Pass the folder that contains {MANIFEST}."
        )
    if not is_one_line(folder.name):
        raise InputError(
            f"The name of the feed's folder {one_line(folder)} contains line breaks, control characters or "
            "invalid UTF-8. Rename it."
        )
    manifest = read_manifest(folder)
    if manifest.rows == 0:
        raise InputError(
            f"Feed {manifest.feed_id} in {folder} is empty: its manifest says 0 rows. Nothing was changed. "
            "Deliver it again with its rows."
        )
    folder = folder.absolute()
    return Feed(folder, manifest, _check_files(folder, _find_source(folder)))


def _find_source(folder: Path) -> Path:
    sources = [
        folder / name for name in ROW_FILES if (folder / name).exists() or (folder / name).is_symlink()
    ]
    if len(sources) > 1:
        raise InputError(
            f"Feed {folder} contains {' and '.join(path.name for path in sources)}. Deliver one of them."
        )
    if not sources:
        raise InputError(
            f"Feed {folder} contains none of {', '.join(ROW_FILES)}. Deliver the rows beside the manifest."
        )
    return sources[0]


def _check_files(folder: Path, source: Path) -> Path:
    """Return `source`; `InputError` unless it and its parts are regular files inside the feed.

    Links are followed.
    """
    for path in [source, *(source.rglob("*") if source.is_dir() else ())]:
        name = one_line(path.relative_to(folder))
        if not stays_inside(path, folder):
            raise InputError(
                f"{name} of the feed in {folder} is a symbolic link that leads out of the feed or nowhere. "
                "Deliver the file."
            )
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise InputError(
                f"{name} of the feed in {folder} is {kind_of(mode)}, not a file. Deliver the rows in a file."
            )
    return source
