"""Synthetic catalogues and feeds: products with 784 bytes of picture, and a day that touches 1 % of them."""

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

CATEGORIES = 10
PICTURE = 784
ROWS_A_FILE = 50_000
# Of a day's rows: the rest, a tenth, are products that go.
REPLACED, EDITED, NEW = 0.4, 0.3, 0.2
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("product_id", "title", "category")),
        ("price", pa.float64()),
        ("in_stock", pa.bool_()),
        ("updated_at", pa.timestamp("us", "UTC")),
        ("image", pa.binary()),
        ("image_hash", pa.string()),
    ]
)


def write_products(folder: Path, count: int) -> None:
    """The catalogue's rows as Parquet files; the pictures are noise, for nobody decodes what is already there."""
    folder.mkdir(parents=True)
    for start in range(0, count, ROWS_A_FILE):
        pq.write_table(_products(start, min(start + ROWS_A_FILE, count)), folder / f"{start:09d}.parquet")


def day_feed(inbox: Path, name: str, of: int) -> Path:
    """A feed of 1 % of `of` products: pictures replaced, prices edited, products new and gone, anywhere among the ids."""
    rng = np.random.default_rng(of)
    count = of // 100
    touched = rng.choice(of, count, replace=False)
    marks = (np.cumsum([REPLACED, EDITED, NEW]) * count).astype(int)
    replaced, edited, new, gone = np.split(touched, marks)
    rows = [upsert(int(n), _category(n), _pixels(rng)) for n in replaced]
    rows += [upsert(int(n), _category(n), None, price=500.0) for n in edited]
    rows += [upsert(of + int(n), _category(n), _pixels(rng)) for n in new]
    rows += [withdraw(int(n)) for n in gone]
    return deliver(inbox, name, rows, name)


def first_feed(inbox: Path, name: str, count: int) -> Path:
    """A feed of `count` new products."""
    rng = np.random.default_rng(0)
    return deliver(inbox, name, [upsert(n, _category(n), _pixels(rng)) for n in range(count)], name)


def examined(feed: Path) -> pa.Table:
    """A feed's rows as a merge takes them, with `op`: what ingest makes of them, done beforehand for a peer that only merges."""
    rows = pq.read_table(feed / "products.parquet")
    pictures = rows["image"].to_pylist()
    hashes = [None if picture is None else image_hash(open_image(picture, PICTURE)) for picture in pictures]
    rows = rows.append_column("updated_at", pa.nulls(len(rows), pa.timestamp("us", "UTC")))
    return rows.append_column("image_hash", pa.array(hashes, pa.string()))


def copy_home(home: Path, to: Path) -> Path:
    """A home to spoil: the logs are copied, the data files, which nothing writes to again, are linked."""
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
    noise = rng.bytes((PICTURE + 32) * len(numbers))
    pictures = [noise[at : at + PICTURE] for at in range(0, PICTURE * len(numbers), PICTURE)]
    rest = noise[PICTURE * len(numbers) :]
    columns = {
        "product_id": [product_id(n) for n in numbers],
        "title": [f"{_category(n)} {n}" for n in numbers],
        "category": [_category(n) for n in numbers],
        "price": [9.0 + n * 37 % 90 for n in numbers],
        "in_stock": [n % 10 != 0 for n in numbers],
        "updated_at": pa.nulls(len(numbers), pa.timestamp("us", "UTC")),
        "image": pictures,
        "image_hash": [rest[at : at + 32].hex() for at in range(0, len(rest), 32)],
    }
    return pa.table(columns, schema=SCHEMA)


def _category(number: int | np.int64) -> str:
    return f"category {number % CATEGORIES}"


def _pixels(rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return rng.integers(0, 256, (28, 28), np.uint8)
