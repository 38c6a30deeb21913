"""One row of a feed: taken, or put aside with the reason. Pure but for the image file that a row may name."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from recsim_tasks.catalogue.images import image_hash, open_image
from recsim_tasks.foundation.errors import InputError

TEXT_COLUMNS = ("product_id", "op", "title", "category", "price", "in_stock", "updated_at", "image_path", "image_base64")
OPERATIONS = ("upsert", "delete")
TRUTH = {"true": True, "1": True, "false": False, "0": False}


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


def take(row: Mapping[str, str | None], image: bytes | None, folder: Path, max_pixels: int) -> Taken:
    """Read the columns of `TEXT_COLUMNS` as text and the image's bytes; `InputError` is the reason to put the row aside."""
    product_id, op = row["product_id"], (row["op"] or "upsert").lower()
    if not product_id:
        raise InputError("the row has no product_id")
    if op not in OPERATIONS:
        raise InputError(f"op is {op!r}, not one of {', '.join(OPERATIONS)}")
    picture = _picture(row, image, folder) if op == "upsert" else None
    return Taken(
        product_id=product_id,
        op=op,
        title=row["title"],
        category=row["category"] or None,
        price=_price(row["price"]),
        in_stock=_truth(row["in_stock"]),
        updated_at=_moment(row["updated_at"]),
        image=picture,
        image_hash=None if picture is None else image_hash(open_image(picture, max_pixels)),
    )


def _picture(row: Mapping[str, str | None], image: bytes | None, folder: Path) -> bytes | None:
    if image is not None:
        return image
    if text := row["image_base64"]:
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise InputError(f"image is not base64: {error}") from error
    return _read(folder, row["image_path"]) if row["image_path"] else None


def _read(folder: Path, name: str) -> bytes:
    """The named file, which must lie inside the feed after all links are followed."""
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise InputError(f"image_path {name!r} leaves the feed's directory")
        return path.read_bytes()
    except (OSError, ValueError) as error:
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
    except ValueError as error:
        raise InputError(f"updated_at {text!r} is not a time in ISO 8601") from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
