"""Parse and check one row of a feed. Pure, except for the image file that a row may name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.images.base64 import from_base64
from recsim_tasks.catalogue.images.decode import Limits, read_image
from recsim_tasks.catalogue.schema import (
    PRODUCT,
    STATED,
    STATED_FIELDS,
    ColumnType,
    Field,
    Value,
    arrow_schema,
    spark_ddl,
)
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.redaction import redacted

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_COLUMNS = ("product_id", "op", *STATED, "updated_at", "image_path", "image_base64")
# What every reader returns: the cells as text, for a line that is not a row the `fault` and a `copy` of it,
# and the image's bytes if the format has bytes.
RAW_COLUMNS = (*TEXT_COLUMNS, "fault", "copy")
RAW_TYPES: dict[str, ColumnType] = {**dict.fromkeys(RAW_COLUMNS, "string"), "image": "binary"}
RAW_SCHEMA = spark_ddl(RAW_TYPES)
OPERATIONS = ("upsert", "delete")
CHECKED_TEXTS = tuple(field.name for field in PRODUCT if field.type == "string" and field.source != "kept")
MAX_TEXT_LENGTH = 10_000
MAX_IMAGE_BYTES = 64 << 20
# NUL, and the replacement character, which stands where bytes were not UTF-8.
NOT_TEXT = re.compile("[\0\ufffd]")
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

Cells = Mapping[str, str | None]


def raw_batch(rows: list[dict[str, str | None]]) -> pa.RecordBatch:
    """Return a reader's rows as an Arrow batch in `RAW_SCHEMA`; missing columns are null."""
    import pyarrow as pa

    return pa.RecordBatch.from_pylist(rows, schema=arrow_schema(RAW_TYPES))


@dataclass(frozen=True, kw_only=True)
class ProductRow:
    """A valid row."""

    product_id: str
    op: str
    """`upsert` or `delete`."""
    stated: dict[str, Value]
    """The value of each of the `STATED` fields; None where the row has none."""
    updated_at: datetime | None
    image: bytes | None
    """None: the product keeps its image."""
    image_hash: str | None

    @property
    def columns(self) -> dict[str, Value]:
        """All columns by name."""
        kept: dict[str, Value] = {
            "updated_at": self.updated_at,
            "image": self.image,
            "image_hash": self.image_hash,
        }
        return {"product_id": self.product_id, "op": self.op, **self.stated, **kept}


def parse_row(cells: Cells, image: bytes | None, max_pixels: int) -> ProductRow:
    """Parse the cells of `TEXT_COLUMNS`, and check the image; `InputError` has the reason for a bad row."""
    product_id, op = cells["product_id"], (cells["op"] or "upsert").lower()
    if not product_id:
        raise InputError("the row has no product_id")
    if op not in OPERATIONS:
        raise InputError(f"op is {op!r}, not one of {', '.join(OPERATIONS)}")
    _check_texts(cells)
    image = image if op == "upsert" else None
    return ProductRow(
        product_id=product_id,
        op=op,
        stated={field.name: _parse_cell(field, cells[field.name]) for field in STATED_FIELDS},
        updated_at=_parse_time("updated_at", cells["updated_at"]) if cells["updated_at"] else None,
        image=image,
        image_hash=None if image is None else _check_image(image, max_pixels),
    )


def image_bytes(cells: Cells, image: bytes | None, folder: Path) -> bytes | None:
    """Return the encoded image of a row, from the column that has it; `InputError` if it cannot be read."""
    if image is not None:
        return image
    if text := cells["image_base64"]:
        return from_base64(text)
    return _read_file(folder, cells["image_path"]) if cells["image_path"] else None


def _check_image(image: bytes, max_pixels: int) -> str:
    """Return the image's hash; `InputError` if it does not decode or is a placeholder."""
    decoded = read_image(image, Limits(max_pixels))
    if decoded.placeholder:
        raise InputError(f"the image is a placeholder: {decoded.placeholder}")
    return decoded.digest


def _check_texts(cells: Cells) -> None:
    """Refuse what a wrong encoding or a shifted column leaves behind."""
    for name in CHECKED_TEXTS:
        text = cells[name] or ""
        if len(text) > MAX_TEXT_LENGTH:
            raise InputError(f"{name} has {len(text):,} characters, more than {MAX_TEXT_LENGTH:,}")
        if NOT_TEXT.search(text):
            raise InputError(f"{name} {redacted(text)[:80]!r} is not valid text; is the file in UTF-8?")


def _read_file(folder: Path, name: str) -> bytes:
    """Read a file, which must be inside the feed after following all links."""
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise InputError(f"image_path {name!r} leads out of the feed's folder")
        if not path.is_file():
            raise InputError(f"image_path {name!r} is not a file of the feed")
        if (size := path.stat().st_size) > MAX_IMAGE_BYTES:
            raise InputError(f"image_path {name!r} has {size:,} bytes, more than {MAX_IMAGE_BYTES:,}")
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise InputError(f"image_path {name!r} cannot be read: {error}") from error


def _parse_cell(field: Field, text: str | None) -> Value:
    if field.type == "string":
        return None if field.empty_is_null and not text else text
    if text is None or text == "":
        return None
    if field.type == "double":
        return _parse_number(field, text)
    if field.type == "boolean":
        return _parse_boolean(field.name, text)
    return _parse_time(field.name, text)


def _parse_number(field: Field, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise InputError(f"{field.name} {text!r} is not a number") from error
    if not math.isfinite(value) or (field.minimum is not None and value < field.minimum):
        at_least = "" if field.minimum is None else f" of at least {field.minimum:g}"
        raise InputError(f"{field.name} {text!r} is not a finite number{at_least}")
    return value


def _parse_boolean(name: str, text: str) -> bool:
    if text.lower() not in BOOLEANS:
        raise InputError(f"{name} {text!r} is neither true nor false")
    return BOOLEANS[text.lower()]


def _parse_time(name: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{name} {text!r} is not a time in ISO 8601") from error
