"""Delivers feeds as a merchandising system does: rows first, the manifest last."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def upsert(number: int, category: str, pixels: Pixels | None, price: float | None = None) -> dict[str, Any]:
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


def delete(number: int) -> dict[str, Any]:
    """A row that deletes a product."""
    return dict.fromkeys(("title", "category", "price", "in_stock", "image")) | {
        "product_id": product_id(number),
        "op": "delete",
    }


def product_id(number: int) -> str:
    """The id of a product."""
    return f"fashion-{number:05d}"


def png(pixels: Pixels) -> bytes:
    """A grey image, uint8 [height, width], as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def deliver(inbox: Path, name: str, rows: Iterable[dict[str, Any]], feed_id: str, full: bool = False) -> Path:
    """Write a Parquet feed into `inbox`, close it with its manifest, and return its folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = {name: pa.string() for name in ("product_id", "op", "title", "category")}
    schema = pa.schema(
        [*text.items(), ("price", pa.float64()), ("in_stock", pa.bool_()), ("image", pa.binary())]
    )
    table = pa.Table.from_pylist(list(rows), schema=schema)
    folder = inbox / name
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "products.parquet")
    staged = folder / ".manifest.json"
    staged.write_text(json.dumps({"feed_id": feed_id, "rows": table.num_rows, "full": full}))
    staged.rename(folder / "manifest.json")
    return folder
