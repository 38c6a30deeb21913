"""A feed as it lies in a folder: its manifest, the file that holds its rows, and the checks that need no row."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import digest_of, digests

MANIFEST = "manifest.json"
ROW_FILES = ("products.parquet", "products.csv", "products.jsonl")
IDX_IMAGES = "*images*idx3-ubyte*"
IDX_LABELS = "*labels*idx1-ubyte*"
# Nobody takes longer over one manifest; a broken one is not waited for any longer.
SETTLED_SECONDS = 60.0


class Manifest(BaseModel):
    """`manifest.json`, written last by whoever delivers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feed_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")
    rows: int = Field(ge=0)
    full: bool = False
    """True: products that the feed does not name are withdrawn."""
    id_prefix: str = ""
    """IDX only: a product's id is this and its number."""
    categories: list[str] = []
    """IDX only: the label's name, by its number."""


@dataclass(frozen=True)
class Feed:
    """A closed feed: everything that is known of it before a row is read."""

    folder: Path
    manifest: Manifest
    source: Path

    @property
    def kind(self) -> str:
        """`parquet`, `csv`, `jsonl` or `idx`."""
        return self.source.suffix[1:] if self.source.name in ROW_FILES else "idx"

    @property
    def feed_id(self) -> str:
        """The id that the manifest gives."""
        return self.manifest.feed_id

    @property
    def application(self) -> str:
        """The name under which Delta's log remembers that the feed was applied."""
        return f"recsim-feed:{self.feed_id}"

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
        return _only(self.folder, IDX_LABELS)


def open_feed(folder: Path) -> Feed:
    """Read the manifest and find the rows; `InputError` says what is missing or wrong."""
    if not folder.is_dir():
        raise InputError(f"There is no feed directory {folder}. Give the folder that holds {MANIFEST}.")
    manifest = _read_manifest(folder / MANIFEST)
    if manifest.rows == 0:
        raise InputError(
            f"Feed {manifest.feed_id} in {folder} is empty: its manifest says 0 rows. Nothing was changed; deliver it again with its rows."
        )
    return Feed(folder.absolute(), manifest, _row_source(folder.absolute()))


def closed_feeds(inbox: Path) -> list[Path]:
    """Feeds whose manifest is there and whole, in order of arrival; folders with a leading dot are none of ours.

    A manifest that is no JSON object is still being written, unless nobody has touched it for a minute: then the feed counts as closed,
    so that somebody hears what is wrong with it. `inbox` is a folder or a `UPath` of an object store; one that does not exist is empty,
    one that cannot be read raises `OSError`.
    """
    try:
        folders = [folder for folder in inbox.iterdir() if not folder.name.startswith(".")]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        if getattr(inbox, "protocol", ""):  # an object store has no empty folders
            return []
        raise
    arrived = [(arrival, folder.name, folder) for folder in folders if (arrival := _closed_at(folder)) is not None]
    return [folder for _, _, folder in sorted(arrived, key=lambda entry: entry[:2])]


def mark_of(feed: Path) -> str:
    """What tells a delivery from the next one under the same name: the manifest's content and time."""
    manifest = feed / MANIFEST
    return f"{hashlib.sha256(manifest.read_bytes()).hexdigest()[:16]}-{manifest.stat().st_mtime}"


def _closed_at(folder: Path) -> float | None:
    try:
        changed, text = (folder / MANIFEST).stat().st_mtime, (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return changed if _is_whole(text) or abs(time.time() - changed) > SETTLED_SECONDS else None


def _is_whole(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _read_manifest(path: Path) -> Manifest:
    try:
        return Manifest.model_validate(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise InputError(f"Feed {path.parent} has no {MANIFEST}: it is not closed yet. Whoever delivers writes that file last.") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"{path} is not a feed's manifest: {faults}. Correct it and deliver the feed again.") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON: {error}. Correct it and deliver the feed again.") from error


def _row_source(folder: Path) -> Path:
    found = [folder / name for name in ROW_FILES if (folder / name).exists()]
    if len(found) > 1:
        raise InputError(f"Feed {folder} holds {' and '.join(p.name for p in found)}: which of them counts? Deliver one.")
    return found[0] if found else _only(folder, IDX_IMAGES)


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InputError(
            f"Feed {folder} holds neither {', '.join(ROW_FILES)} nor one file {pattern}. Deliver the rows beside the manifest."
        )
    return found[0]
