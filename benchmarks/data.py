"""The data of benchmarks: synthetic embeddings in clusters, and catalogues of real images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import png
from recsim_tasks.arrays import Float32Array
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.images.decode import image_hash, open_image
from recsim_tasks.catalogue.schema import PRODUCT_TYPES, arrow_schema
from recsim_tasks.contracts import Cursor
from recsim_tasks.vectors.index import IndexOrigin

CENTRES, SUBSPACE = 2_000, 16
# Distance of a vector from its centre (of length 1): nearly all neighbours are in its own cluster, or in
# several.
TIGHT, LOOSE = 0.48, 1.0
ROWS_A_FILE = 50_000
ORIGIN = IndexOrigin("benchmark", Cursor("benchmark", 0))
SCHEMA = arrow_schema({name: kind for name, kind in PRODUCT_TYPES.items() if name != "updated_at"})


def clustered(count: int, queries: int, dimensions: int, spread: float) -> tuple[Float32Array, Float32Array]:
    """Draw unit vectors [count, d] around 2,000 centres, and queries [q, d] in the same way.

    Noise of length `spread` lies in 16 directions.
    """
    rng = np.random.default_rng(0)
    centres = _unit(rng.normal(size=(CENTRES, dimensions)))
    directions = _unit(rng.normal(size=(SUBSPACE, dimensions)))

    def draw(n: int) -> Float32Array:
        noise = rng.normal(size=(n, SUBSPACE)).astype(np.float32) @ directions
        return _unit(centres[rng.integers(0, CENTRES, n)] + spread / SUBSPACE**0.5 * noise)

    return np.concatenate([draw(min(100_000, count - start)) for start in range(0, count, 100_000)]), draw(
        queries
    )


def products(count: int) -> pa.Table:
    """Make the fields of products without images, as an index takes them."""
    return _products(
        np.arange(count), [f"category {n % 10}" for n in range(count)], [f"{n:064x}" for n in range(count)]
    )


def write_catalogue(uri: str, data: FashionMnist, count: int) -> Cursor:
    """Write a catalogue of `count` products.

    They have the real images; beyond those, copies with some pixels changed, so that all images are
    different.
    """
    for start in range(0, count, ROWS_A_FILE):
        numbers = np.arange(start, min(start + ROWS_A_FILE, count))
        write_deltalake(
            uri,
            products_with_images(data, numbers),
            mode="append",
            configuration={"delta.enableChangeDataFeed": "true"},
        )
    cursor = head(uri)
    assert cursor is not None
    return cursor


def products_with_images(data: FashionMnist, numbers: Any) -> pa.Table:
    """Make rows of the catalogue for these products."""
    images = [png(_pixels(data, int(number))) for number in numbers]
    hashes = [image_hash(open_image(image, 28 * 28)) for image in images]
    table = _products(
        numbers, [f"label {data.train_labels[n % len(data.train_labels)]}" for n in numbers], hashes
    )
    return table.add_column(5, "image", pa.array(images, pa.binary())).cast(SCHEMA)


def _products(numbers: Any, categories: list[str], hashes: list[str]) -> pa.Table:
    columns = {
        "product_id": [f"product-{n:08d}" for n in numbers],
        "title": [f"title {n}" for n in numbers],
        "category": categories,
        "price": [9.0 + n * 37 % 90 for n in numbers],
        "in_stock": [bool(n % 10) for n in numbers],
        "image_hash": hashes,
    }
    return pa.table(columns)


def _pixels(data: FashionMnist, number: int) -> Any:
    images = data.train_images
    pixels = images[number % len(images)].copy()
    # The number of the copy, in base 256, changes the first three pixels of the top row.
    copy = number // len(images)
    pixels[0, :3] ^= np.array([copy & 255, copy >> 8 & 255, copy >> 16], np.uint8)
    return pixels


def _unit(vectors: Any) -> Float32Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def folder_size(folder: Path) -> int:
    """Return the bytes of all files under `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
