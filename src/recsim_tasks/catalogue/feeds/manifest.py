"""`manifest.json`: what closes a feed, and how it is read wherever the feed lies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.reading import NotAFileError, read_small
from recsim_tasks.foundation.text import one_line

MANIFEST = "manifest.json"
LARGEST_MANIFEST = 1 << 20


class Manifest(BaseModel):
    """`manifest.json`, written last by the sender."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feed_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")
    rows: int = Field(ge=0)
    full: bool = False
    """True: products that the feed does not name are withdrawn."""
    id_prefix: str = ""
    """IDX only: a product's id is this and its number."""
    categories: list[str] = []
    """IDX only: the label's name, by its number."""


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the feed in `folder`; `InputError` says what is wrong with it."""
    path = f"{MANIFEST} of the feed in {one_line(folder)}"
    try:
        return Manifest.model_validate(parsed(manifest_bytes(folder)))
    except FileNotFoundError as error:
        raise InputError(
            f"The feed in {one_line(folder)} has no {MANIFEST}: it is not closed yet. The sender writes that file last."
        ) from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(
            f"{path} is not a feed's manifest: {one_line(faults)}. Correct it and deliver the feed again."
        ) from error
    except NotAFileError as error:
        raise InputError(f"{path} {error}. Deliver the feed again with a manifest of a few lines.") from error
    except (ValueError, RecursionError, MemoryError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(
            f"{path} is not JSON: {one_line(reason)}. Correct it and deliver the feed again."
        ) from error


def manifest_bytes(folder: Path) -> bytes:
    """The bytes of a feed's manifest, never waiting for them; `NotAFileError` where it is none, leads out of the feed, or is too large.

    `folder` is one of this machine, or a `UPath` of an object store.
    """
    path = folder / MANIFEST
    if isinstance(path, type(Path())):
        if path.is_symlink() and not stays_inside(path, folder):
            raise NotAFileError("is a symbolic link that leads out of the feed or nowhere")
        return read_small(path, LARGEST_MANIFEST)
    if not path.is_file():
        if path.exists():
            raise NotAFileError("is a folder, not a file")
        raise FileNotFoundError(str(path))
    if (size := path.stat().st_size) > LARGEST_MANIFEST:
        raise NotAFileError(f"has {size:,} bytes, more than {LARGEST_MANIFEST:,}")
    return path.read_bytes()


def parsed(text: bytes) -> dict[str, Any]:
    """The JSON object in `text`, in UTF-8 or UTF-16, with or without a byte order mark; `ValueError` says why it is none."""
    value = json.loads(text, object_pairs_hook=_once)
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}, not an object")  # as json itself says it
    return value


def stays_inside(path: Path, folder: Path) -> bool:
    """Whether `path` exists in `folder` after all links were followed."""
    try:
        return Path(os.path.realpath(path, strict=True)).is_relative_to(os.path.realpath(folder, strict=True))
    except OSError:
        return False


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names stand there once each: it is unknown which of two values counts."""
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} stands there twice")
    return dict(pairs)
