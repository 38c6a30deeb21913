from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsim_tasks.arrays import Int64Array
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.vectors.product_table import ProductTable
from vectors.reference import products


def keys(*numbers: int) -> Int64Array:
    return np.array(numbers, np.int64)


@given(st.lists(st.text(max_size=5), unique=True, max_size=20), st.text(max_size=5))
def test_every_product_id_is_found_and_no_other(ids: list[str], other: str) -> None:
    ids = [name.encode("utf-8", "ignore").decode() for name in ids]
    ids = list(dict.fromkeys(ids))
    table = ProductTable.of(
        products(["p-1"] * len(ids)).set_column(0, "product_id", [pa.array(ids, pa.string())]),
        np.arange(len(ids)) * 5,
    )
    assert [table.key_of(name) for name in ids] == table.row_keys.tolist() == table.keys_of(ids).tolist()
    assert [ids[position] for position in table.by_id] == sorted(ids)
    assert [sorted(ids)[rank] for rank in table.ranks] == ids
    if other not in ids:
        with pytest.raises(InputError, match="is not in this release"):
            table.key_of(other)


def test_put_replaces_existing_keys_and_appends_new_ones() -> None:
    table = ProductTable.of(products(["p-1", "p-2", "p-3"]), keys(0, 1, 2)).put(
        products(["p-5", "p-2", "p-4"], price=7.0), keys(3, 1, 9)
    )
    assert table.table["product_id"].to_pylist() == ["p-1", "p-2", "p-3", "p-5", "p-4"]
    assert table.row_keys.tolist() == [0, 1, 2, 3, 9]
    assert table.table["price"].to_pylist() == [1.0, 7.0, 3.0, 7.0, 7.0]
    assert table.rows(keys(1, 0), ["product_id", "price"]) == [
        {"product_id": "p-2", "price": 7.0},
        {"product_id": "p-1", "price": 1.0},
    ]
    assert table.rows(keys(), ["product_id"]) == []


def test_drop_keeps_the_other_products_under_their_keys() -> None:
    table = ProductTable.of(products(["p-1", "p-2", "p-3"]), keys(0, 1, 2)).drop(keys(1))
    assert table.row_keys.tolist() == [0, 2]
    assert table.by_key(np.array([False, True])).tolist() == [False, False, True]
    assert len(table.drop(keys(0, 2))) == 0


def test_a_file_is_memory_mapped(tmp_path: Path) -> None:
    table = ProductTable.of(products([f"p-{n}" for n in range(50_000)]), np.arange(50_000) * 2)
    table.write(tmp_path / "items.arrow")
    before = pa.total_allocated_bytes()
    again = ProductTable.open(tmp_path / "items.arrow")
    assert pa.total_allocated_bytes() - before < 100_000 < (tmp_path / "items.arrow").stat().st_size / 10
    assert again.key_of("p-777") == 1554
    assert again.table.equals(table.table)
    assert (again.by_id == table.by_id).all()


def test_an_empty_table_can_be_written_and_opened(tmp_path: Path) -> None:
    ProductTable.of(products([]), keys()).write(tmp_path / "items.arrow")
    assert len(ProductTable.open(tmp_path / "items.arrow")) == 0
