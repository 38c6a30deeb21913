"""`manifest.json`, which closes a feed: its content, and how to read it from a folder or an object store."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.reading import NotAFileError, read_small
from recsim_tasks.foundation.text import one_line

MANIFEST = "manifest.json"
MAX_BYTES = 1 << 20


class Manifest(BaseModel):
    """`manifest.json`, written last by the sender."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feed_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")
    rows: int = Field(ge=0)
    full: bool = False
    """Whether products that the feed does not name are withdrawn."""


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the feed in `folder`; `InputError` says what is wrong with it."""
    path = f"{MANIFEST} of the feed in {one_line(folder)}"
    try:
        return Manifest.model_validate(parse_json_object(read_manifest_bytes(folder)))
    except FileNotFoundError as error:
        raise InputError(
            f"The feed in {one_line(folder)} has no {MANIFEST} and is not closed yet. The sender writes that "
            "file last."
        ) from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(
            f"{path} is not a valid manifest: {one_line(faults)}. Correct it and deliver the feed again."
        ) from error
    except NotAFileError as error:
        raise InputError(f"{path} {error}. Deliver the feed again with a manifest of a few lines.") from error
    except (ValueError, RecursionError, MemoryError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(
            f"{path} is not JSON: {one_line(reason)}. Correct it and deliver the feed again."
        ) from error


def read_manifest_bytes(folder: Path) -> bytes:
    """Read the bytes of a feed's manifest without blocking.

    Raises `NotAFileError` if it is not a file, leads out of the feed, or is too large. `folder` is a folder
    of this machine or a `UPath` of an object store.
    """
    path = folder / MANIFEST
    if isinstance(path, type(Path())):
        if path.is_symlink() and not stays_inside(path, folder):
            raise NotAFileError("is a symbolic link that leads out of the feed or nowhere")
        return read_small(path, MAX_BYTES)
    if not path.is_file():
        if path.exists():
            raise NotAFileError("is a folder, not a file")
        raise FileNotFoundError(str(path))
    if (size := path.stat().st_size) > MAX_BYTES:
        raise NotAFileError(f"has {size:,} bytes, more than {MAX_BYTES:,}")
    return path.read_bytes()


def parse_json_object(text: bytes) -> dict[str, object]:
    """Parse a JSON object in UTF-8 or UTF-16, with or without a byte order mark; may raise `ValueError`."""
    value = json.loads(text, object_pairs_hook=_without_duplicates)
    if not isinstance(value, dict):
        raise ValueError(f"it contains a {type(value).__name__}, not an object")
    return value


def stays_inside(path: Path, folder: Path) -> bool:
    """Return whether `path` exists inside `folder` after following all links."""
    try:
        return Path(os.path.realpath(path, strict=True)).is_relative_to(os.path.realpath(folder, strict=True))
    except OSError:
        return False


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object, but refuse repeated names: which of the values is meant is unknown."""
    names = [name for name, _ in pairs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"it contains {', '.join(repeated)} twice")
    return dict(pairs)
