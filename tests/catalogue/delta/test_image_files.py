from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from catalogue.delta.test_net_changes import at_head
from recsim_tasks.catalogue.delta.image_files import BATCH_ROWS, iter_images, locate_images


def write(uri: str, *hashes: str) -> None:
    """Append a file of rows, each with its hash as the image."""
    images = pa.array([name.encode() for name in hashes], pa.binary())
    write_deltalake(uri, pa.table({"image_hash": list(hashes), "image": images}), mode="append")


def test_each_image_is_read_once_from_one_file(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    write(uri, *(f"h{number}" for number in range(2 * BATCH_ROWS + 5)), "h0")
    write(uri, "h0", "new")
    wanted = [f"h{number}" for number in (0, 1, BATCH_ROWS, 2 * BATCH_ROWS + 4)] + ["new", "unknown"]
    located = locate_images(uri, at_head(uri), pa.array(wanted))
    assert sorted(name for hashes in located.values() for name in hashes.to_pylist()) == sorted(wanted[:-1])
    tables = list(iter_images(uri, at_head(uri), pa.array(wanted)))
    rows = [row for table in tables for row in table.to_pylist()]
    assert sorted(row["image_hash"] for row in rows) == sorted(wanted[:-1])
    assert all(row["image"] == row["image_hash"].encode() for row in rows)


def test_a_deleted_row_is_not_read_from_a_file_that_was_removed(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    write(uri, "a")
    write(uri, "b")
    DeltaTable(uri).delete("image_hash = 'a'")
    assert locate_images(uri, at_head(uri), pa.array(["a"])) == {}
