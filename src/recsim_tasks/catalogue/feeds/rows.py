"""One row of a feed: taken, or put aside with the reason. Pure but for the image file that a row may name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.images.base64 import from_base64
from recsim_tasks.catalogue.images.decode import Limits, read_image
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.redaction import redacted

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_COLUMNS = (
    "product_id",
    "op",
    "title",
    "category",
    "price",
    "in_stock",
    "updated_at",
    "image_path",
    "image_base64",
)
# What every reader gives: the cells as text, the fault and a copy of a line that is no row, and the image where the format has bytes.
RAW_COLUMNS = (*TEXT_COLUMNS, "fault", "copy")
RAW_SCHEMA = ", ".join(f"{name} string" for name in RAW_COLUMNS) + ", image binary"
OPERATIONS = ("upsert", "delete")
LONGEST_TEXT = 10_000
LONGEST_IMAGE = 64 << 20
# NUL, and what stands where a byte was no UTF-8.
NO_TEXT = re.compile("[\0\ufffd]")
TRUTH = {"true": True, "1": True, "false": False, "0": False}


def raw_batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Rows of a reader as Arrow has them, in `RAW_SCHEMA`; what a row does not name is null."""
    import pyarrow as pa

    schema = pa.schema([*((name, pa.string()) for name in RAW_COLUMNS), ("image", pa.binary())])
    return pa.RecordBatch.from_pylist(rows, schema=schema)


@dataclass(frozen=True)
class Taken:
    """A row that the catalogue can take; `image` is None when the row leaves the picture as it is."""

    product_id: str
    op: str
    title: str | None
    category: str | None
    price: float | None
    in_stock: bool | None
    updated_at: datetime | None
    image: bytes | None
    image_hash: str | None


def take(row: Mapping[str, str | None], picture: bytes | None, max_pixels: int) -> Taken:
    """Read the columns of `TEXT_COLUMNS` as text, with the picture's bytes; `InputError` is the reason to put the row aside."""
    product_id, op = row["product_id"], (row["op"] or "upsert").lower()
    if not product_id:
        raise InputError("the row has no product_id")
    if op not in OPERATIONS:
        raise InputError(f"op is {op!r}, not one of {', '.join(OPERATIONS)}")
    _check_text(row)
    picture = picture if op == "upsert" else None
    return Taken(
        product_id=product_id,
        op=op,
        title=row["title"],
        category=row["category"] or None,
        price=_price(row["price"]),
        in_stock=_truth(row["in_stock"]),
        updated_at=_moment(row["updated_at"]),
        image=picture,
        image_hash=None if picture is None else _digest(picture, max_pixels),
    )


def picture_of(row: Mapping[str, str | None], image: bytes | None, folder: Path) -> bytes | None:
    """The picture's bytes, wherever the row has them; None when it has none, `InputError` when they cannot be had."""
    if image is not None:
        return image
    if text := row["image_base64"]:
        return from_base64(text)
    return _read(folder, row["image_path"]) if row["image_path"] else None


def _digest(picture: bytes, max_pixels: int) -> str:
    decoded = read_image(picture, Limits(max_pixels))
    if decoded.placeholder:
        raise InputError(f"the image is a placeholder: {decoded.placeholder}")
    return decoded.digest


def _check_text(row: Mapping[str, str | None]) -> None:
    """What a wrong encoding or a shifted column leaves behind."""
    for name in ("product_id", "title", "category"):
        text = row[name] or ""
        if len(text) > LONGEST_TEXT:
            raise InputError(f"{name} has {len(text):,} characters, more than {LONGEST_TEXT:,}")
        if NO_TEXT.search(text):
            raise InputError(
                f"{name} {redacted(text)[:80]!r} holds characters that no text has; is the file in UTF-8?"
            )


def _read(folder: Path, name: str) -> bytes:
    """The named file, which must lie inside the feed after all links are followed."""
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise InputError(f"image_path {name!r} leaves the feed's directory")
        if not path.is_file():
            raise InputError(f"image_path {name!r} is no file of the feed")
        if (size := path.stat().st_size) > LONGEST_IMAGE:
            raise InputError(f"image_path {name!r} has {size:,} bytes, more than {LONGEST_IMAGE:,}")
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:  # the last of these: links that lead to each other
        raise InputError(f"image_path {name!r} cannot be read: {error}") from error


def _price(text: str | None) -> float | None:
    if text is None or text == "":
        return None
    try:
        price = float(text)
    except ValueError as error:
        raise InputError(f"price {text!r} is not a number") from error
    if not math.isfinite(price) or price < 0:
        raise InputError(f"price {text!r} is not a price")
    return price


def _truth(text: str | None) -> bool | None:
    if text is None or text == "":
        return None
    if text.lower() not in TRUTH:
        raise InputError(f"in_stock {text!r} is neither true nor false")
    return TRUTH[text.lower()]


def _moment(text: str | None) -> datetime | None:
    if text is None or text == "":
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(f"updated_at {text!r} is not a time in ISO 8601") from error
