"""Delivers feeds as a merchandising system does: rows first, the manifest last."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypedDict

from recsim_tasks.arrays import UInt8Array
from recsim_tasks.catalogue.schema import STATED, arrow_schema, select_types


class FeedRow(TypedDict):
    """A row of a feed; None leaves the image as it is, and clears any other field."""

    product_id: str
    op: Literal["upsert", "delete"]
    title: str | None
    category: str | None
    price: float | None
    in_stock: bool | None
    image: bytes | None


def upsert(number: int, category: str, pixels: UInt8Array | None, price: float | None = None) -> FeedRow:
    """A row that inserts or updates a product; without `pixels` its image does not change."""
    return {
        "product_id": product_id(number),
        "op": "upsert",
        "title": f"{category} {number}",
        "category": category,
        "price": price if price is not None else 9.0 + number * 37 % 90,
        "in_stock": number % 10 != 0,
        "image": None if pixels is None else png(pixels),
    }


def delete(number: int) -> FeedRow:
    """A row that deletes a product."""
    return {
        "product_id": product_id(number),
        "op": "delete",
        "title": None,
        "category": None,
        "price": None,
        "in_stock": None,
        "image": None,
    }


def product_id(number: int) -> str:
    """The id of a product."""
    return f"fashion-{number:05d}"


def png(pixels: UInt8Array) -> bytes:
    """A grey image, uint8 [height, width], as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def deliver(inbox: Path, name: str, rows: Iterable[FeedRow], feed_id: str, full: bool = False) -> Path:
    """Write a Parquet feed into `inbox`, close it with its manifest, and return its folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"op": "string", **select_types(("product_id", *STATED, "image"))}
    table = pa.Table.from_pylist(list(rows), schema=arrow_schema(columns))
    folder = inbox / name
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "products.parquet")
    staged = folder / ".manifest.json"
    staged.write_text(json.dumps({"feed_id": feed_id, "rows": table.num_rows, "full": full}))
    staged.rename(folder / "manifest.json")
    return folder
