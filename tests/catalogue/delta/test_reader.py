from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from catalogue.delta.test_net_changes import at_head, product, table
from recsim_tasks.catalogue.delta.reader import (
    committed_at,
    head,
    iter_products,
    open_table,
    read_image,
    read_products,
    without_views,
)
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import MissingError


@pytest.fixture
def uri(tmp_path: Path) -> str:
    uri = str(tmp_path / "products")
    products = table(product("a"), product("o'brien"))
    write_deltalake(uri, products.append_column("image", pa.array([b"image a", b"image b"])))
    return uri


def test_a_missing_table_has_no_head(tmp_path: Path) -> None:
    assert head(str(tmp_path / "nothing")) is None
    with pytest.raises(MissingError, match="There is no catalogue"):
        open_table(str(tmp_path / "nothing"))


def test_a_version_that_does_not_exist_is_missing(uri: str) -> None:
    with pytest.raises(MissingError, match=r"cannot be read at version 7.*Plan the refresh again"):
        open_table(uri, Cursor(at_head(uri).table_id, 7))


def test_products_are_read_at_the_cursor(uri: str) -> None:
    cursor = at_head(uri)
    DeltaTable(uri).delete("product_id = 'a'")
    assert sorted(read_products(uri, cursor, ["product_id"])["product_id"].to_pylist()) == ["a", "o'brien"]
    batches = list(iter_products(uri, at_head(uri), ["image"]))
    assert [value for batch in batches for value in batch["image"].to_pylist()] == [b"image b"]


def test_an_image_is_read_by_product_and_hash(uri: str) -> None:
    assert read_image(open_table(uri), "o'brien", "i") == b"image b"
    assert read_image(open_table(uri), "o'brien", "j") is None
    assert read_image(open_table(uri), "x' OR '1' = '1", "i") is None


def test_an_image_of_a_vacuumed_version_is_missing(uri: str) -> None:
    table = open_table(uri, at_head(uri))
    DeltaTable(uri).delete("product_id = 'a'")
    DeltaTable(uri).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(MissingError, match=r"Version 0 of .* can no longer be read"):
        read_image(table, "a", "i")


def test_a_commit_has_a_time(uri: str) -> None:
    DeltaTable(uri).delete("product_id = 'a'")
    assert committed_at(uri, 0) <= committed_at(uri, 1)


def test_views_become_plain_types() -> None:
    views = pa.table({"a": pa.array(["x"], pa.string_view()), "b": pa.array([b"x"], pa.large_binary())})
    assert without_views(views).schema.types == [pa.string(), pa.binary()]
