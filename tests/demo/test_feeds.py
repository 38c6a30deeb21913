from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from recsim_demo.feeds import delete, deliver, png, product_id, upsert

PIXELS = np.arange(784, dtype=np.uint8).reshape(28, 28)


def test_a_feed_is_closed_by_a_manifest_that_counts_its_rows(tmp_path: Path) -> None:
    rows = [upsert(1, "Bag", PIXELS), upsert(2, "Coat", None, price=5.0), delete(3)]
    folder = deliver(tmp_path, "monday", rows, "feed-1", full=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == {"feed_id": "feed-1", "rows": 3, "full": True}
    assert pq.read_table(folder / "products.parquet").to_pylist() == rows
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "products.parquet"]


def test_a_deleted_product_has_only_its_id(tmp_path: Path) -> None:
    row = delete(7)
    assert {name: value for name, value in row.items() if value is not None} == {
        "product_id": product_id(7),
        "op": "delete",
    }


def test_a_png_has_the_same_pixels() -> None:
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(PIXELS)))), PIXELS)
