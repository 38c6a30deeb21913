"""Synthetic catalogues and feeds: products with images of 784 bytes, and a daily feed for 1% of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsim_demo.feeds import delete as withdraw
from recsim_demo.feeds import deliver, product_id, upsert
from recsim_tasks.catalogue.images.decode import image_hash, open_image
from recsim_tasks.catalogue.schema import PRODUCT_TYPES, arrow_schema

CATEGORIES = 10
IMAGE_BYTES = 784
ROWS_A_FILE = 50_000
# Shares of a daily feed's rows; the rest, a tenth, withdraws products.
REPLACED, EDITED, NEW = 0.4, 0.3, 0.2
SCHEMA = arrow_schema(PRODUCT_TYPES)


def write_products(folder: Path, count: int) -> None:
    """Write the catalogue's rows as Parquet files; images are noise, as existing ones are never decoded."""
    folder.mkdir(parents=True)
    for start in range(0, count, ROWS_A_FILE):
        pq.write_table(_products(start, min(start + ROWS_A_FILE, count)), folder / f"{start:09d}.parquet")


def day_feed(inbox: Path, name: str, of: int) -> Path:
    """Deliver a feed for 1% of `of` products, spread over all ids: it replaces, edits, adds, withdraws."""
    rng = np.random.default_rng(of)
    count = of // 100
    touched = rng.choice(of, count, replace=False)
    marks = (np.cumsum([REPLACED, EDITED, NEW]) * count).astype(int)
    replaced, edited, new, withdrawn = np.split(touched, marks)
    rows = [upsert(int(n), _category(n), _pixels(rng)) for n in replaced]
    rows += [upsert(int(n), _category(n), None, price=500.0) for n in edited]
    rows += [upsert(of + int(n), _category(n), _pixels(rng)) for n in new]
    rows += [withdraw(int(n)) for n in withdrawn]
    return deliver(inbox, name, rows, name)


def first_feed(inbox: Path, name: str, count: int) -> Path:
    """Deliver a feed of `count` new products."""
    rng = np.random.default_rng(0)
    return deliver(inbox, name, [upsert(n, _category(n), _pixels(rng)) for n in range(count)], name)


def validated_rows(feed: Path) -> pa.Table:
    """Return a feed's validated rows with `op`, prepared for a peer that only merges."""
    rows = pq.read_table(feed / "products.parquet")
    images = rows["image"].to_pylist()
    hashes = [None if image is None else image_hash(open_image(image, IMAGE_BYTES)) for image in images]
    rows = rows.append_column("updated_at", pa.nulls(len(rows), pa.timestamp("us", "UTC")))
    return rows.append_column("image_hash", pa.array(hashes, pa.string()))


def copy_home(home: Path, to: Path) -> Path:
    """Copy a home that may be changed: copies logs, and links data files, which are immutable."""
    shutil.copytree(home, to, copy_function=_copy_or_link)
    return to


def _copy_or_link(source: str, target: str) -> None:
    if "_delta_log" in Path(source).parts:
        shutil.copy2(source, target)
    else:
        os.link(source, target)


def _products(start: int, end: int) -> pa.Table:
    rng = np.random.default_rng(start)
    numbers = range(start, end)
    noise = rng.bytes((IMAGE_BYTES + 32) * len(numbers))
    images = [noise[at : at + IMAGE_BYTES] for at in range(0, IMAGE_BYTES * len(numbers), IMAGE_BYTES)]
    rest = noise[IMAGE_BYTES * len(numbers) :]
    columns = {
        "product_id": [product_id(n) for n in numbers],
        "title": [f"{_category(n)} {n}" for n in numbers],
        "category": [_category(n) for n in numbers],
        "price": [9.0 + n * 37 % 90 for n in numbers],
        "in_stock": [n % 10 != 0 for n in numbers],
        "updated_at": pa.nulls(len(numbers), pa.timestamp("us", "UTC")),
        "image": images,
        "image_hash": [rest[at : at + 32].hex() for at in range(0, len(rest), 32)],
    }
    return pa.table(columns, schema=SCHEMA)


def _category(number: int | np.int64) -> str:
    return f"category {number % CATEGORIES}"


def _pixels(rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return rng.integers(0, 256, (28, 28), np.uint8)
