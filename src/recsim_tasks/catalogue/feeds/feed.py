"""A feed as it lies in a folder: its manifest, the file that holds its rows, and the checks that need no row."""

from __future__ import annotations

import errno
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from recsim_tasks.catalogue.feeds.manifest import MANIFEST, Manifest, read_manifest, stays_inside
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import digest_of, digests
from recsim_tasks.foundation.reading import kind_of
from recsim_tasks.foundation.text import is_one_line, one_line

ROW_FILES = ("products.parquet", "products.csv", "products.jsonl")
IDX_IMAGES = "*images*idx3-ubyte*"
IDX_LABELS = "*labels*idx1-ubyte*"
GLOB = re.compile(r"([\[\]{}*?\\])")
# What says nothing of the feed, but of the machine or of the storage that it lies on.
NOT_THE_FEED = {
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN,
}  # fmt: skip


@dataclass(frozen=True)
class Feed:
    """A closed feed: everything that is known of it before a row is read."""

    folder: Path
    manifest: Manifest
    source: Path
    undone_at: int | None = None
    """The version of the RESTORE that took the feed out of the catalogue again, where one did."""

    @property
    def kind(self) -> str:
        """`parquet`, `csv`, `jsonl` or `idx`."""
        return self.source.suffix[1:] if self.source.name in ROW_FILES else "idx"

    @property
    def feed_id(self) -> str:
        """The id that the manifest gives."""
        return self.manifest.feed_id

    @property
    def spark_path(self) -> str:
        """The file of the rows as Spark takes it: a path there is a pattern, and `[` or `*` in a folder's name would be one."""
        return GLOB.sub(r"\\\1", str(self.source))

    @property
    def application(self) -> str:
        """The name under which Delta's log remembers that the feed was applied; it commits nothing twice under one name."""
        return f"recsim-feed:{self.feed_id}" + ("" if self.undone_at is None else f" after {self.undone_at}")

    @property
    def transaction(self) -> int:
        """The number that goes with it: the digest's first 60 bits, which fit the log's signed 64."""
        return int(self.digest[:15], 16)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names and contents of all files: another delivery under the same id has another."""
        return digest_of(digests(self.folder))

    def labels(self) -> Path:
        """IDX only: the file of labels that belongs to the images."""
        return _checked(self.folder, _only(self.folder, IDX_LABELS))


def open_feed(folder: Path) -> Feed:
    """Read the manifest, find the rows and take the digest; `InputError` says what is missing or wrong.

    Nothing outside the folder is opened, and nothing but regular files.
    """
    try:
        feed = _opened(folder)
        feed.digest  # noqa: B018  # a file that cannot be read is found here
    except (RecursionError, MemoryError, ValueError) as error:
        raise InputError(
            f"The feed in {one_line(folder)} cannot be read: {one_line(error) or type(error).__name__}. Deliver it again."
        ) from error
    except OSError as error:
        if error.errno in NOT_THE_FEED or isinstance(error, FileNotFoundError):
            raise
        raise InputError(
            f"The feed in {one_line(folder)} cannot be read: {one_line(error)}. Correct it and deliver it again."
        ) from error
    return feed


def _opened(folder: Path) -> Feed:
    if not folder.is_dir():
        raise InputError(
            f"There is no feed directory {one_line(folder)}. Give the folder that holds {MANIFEST}."
        )
    if not is_one_line(folder.name):
        raise InputError(
            f"The feed's folder {one_line(folder)} has a name with line ends, control characters or bytes that are no UTF-8. Rename it."
        )
    manifest = read_manifest(folder)
    if manifest.rows == 0:
        raise InputError(
            f"Feed {manifest.feed_id} in {folder} is empty: its manifest says 0 rows. Nothing was changed; deliver it again with its rows."
        )
    folder = folder.absolute()
    return Feed(folder, manifest, _checked(folder, _row_source(folder)))


def _row_source(folder: Path) -> Path:
    found = [folder / name for name in ROW_FILES if (folder / name).exists() or (folder / name).is_symlink()]
    if len(found) > 1:
        raise InputError(
            f"Feed {folder} holds {' and '.join(p.name for p in found)}: which of them counts? Deliver one."
        )
    return found[0] if found else _only(folder, IDX_IMAGES)


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InputError(
            f"Feed {folder} holds neither {', '.join(ROW_FILES)} nor one file {pattern}. Deliver the rows beside the manifest."
        )
    return found[0]


def _checked(folder: Path, source: Path) -> Path:
    """The file of the rows, or the folder of its parts, when all of it is regular files that lie in the feed after links were followed."""
    for path in [source, *(source.rglob("*") if source.is_dir() else ())]:
        name = one_line(path.relative_to(folder))
        if not stays_inside(path, folder):
            raise InputError(
                f"{name} of the feed in {folder} is a symbolic link that leads out of the feed or nowhere. Deliver the file itself."
            )
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise InputError(
                f"{name} of the feed in {folder} is {kind_of(mode)}, not a file. Deliver the rows in a file."
            )
    return source
