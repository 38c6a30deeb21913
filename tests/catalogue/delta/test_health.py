from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from recsim_tasks.catalogue.delta.health import check_catalogue, column_faults, row_faults
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.foundation.errors import InputError

FIELDS = [
    ("product_id", pa.string()), ("title", pa.string()), ("category", pa.string()), ("price", pa.float64()), ("in_stock", pa.bool_()),
    ("updated_at", pa.timestamp("us", "UTC")), ("image", pa.binary()), ("image_hash", pa.string()),
]  # fmt: skip


def products(*rows: dict[str, Any]) -> pa.Table:
    whole = {"title": "t", "image": b"x", "image_hash": "h"}
    return pa.Table.from_pylist([whole | row for row in rows], schema=pa.schema(FIELDS))


def catalogue(uri: Path, *rows: dict[str, Any]) -> None:
    write_deltalake(str(uri), products(*({"product_id": f"p{n}"} for n in range(3))))
    if rows:
        write_deltalake(str(uri), products(*rows), mode="append")


def check(uri: Path) -> None:
    now = head(str(uri))
    assert now is not None
    check_catalogue(str(uri), now)


def test_a_catalogue_as_recsim_writes_it_is_taken_also_with_a_column_of_others(tmp_path: Path) -> None:
    catalogue(tmp_path / "t")
    write_deltalake(
        str(tmp_path / "t"),
        products({"product_id": "p9"}).append_column("brand", pa.array(["b"])),
        mode="append",
        schema_mode="merge",
    )
    check(tmp_path / "t")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"product_id": "p1"}, "1 more than once: p1"),
        ({"product_id": None}, "1 without product_id"),
        ({"product_id": ""}, "1 without product_id"),
        ({"product_id": "p7", "image_hash": None}, "1 without image_hash: p7"),
        ({"product_id": "p7", "image": None}, "1 without an image: p7"),
        ({"product_id": "\x1b[31mred", "image": None}, r"without an image: \\x1b\[31mred"),
    ],
)
def test_a_row_of_another_writer_is_found_and_its_product_named(
    tmp_path: Path, row: dict[str, Any], said: str
) -> None:
    catalogue(tmp_path / "t", row)
    with pytest.raises(InputError, match=said):
        check(tmp_path / "t")


def test_what_a_later_version_mended_is_no_fault(tmp_path: Path) -> None:
    catalogue(tmp_path / "t", {"product_id": "p7", "image": None})
    DeltaTable(str(tmp_path / "t")).delete("product_id = 'p7'")
    check(tmp_path / "t")


def test_of_many_products_five_are_named() -> None:
    found = row_faults(
        pa.table({"product_id": ["b"] * 2, "image_hash": ["h"] * 2}), [f"p{n}" for n in range(8)]
    )
    assert found == ["1 more than once: b", "8 without an image: p0, p1, p2, p3, p4 and 3 more"]


def test_a_missing_column_and_one_of_another_type_are_named() -> None:
    good = {name: str(kind) for name, kind in FIELDS} | {
        "price": "double",
        "in_stock": "boolean",
        "updated_at": "timestamp",
    }
    assert column_faults(good) == column_faults({**good, "brand": "string"}) == []
    assert column_faults({**good, "price": "float"}) == ["price is float, not double"]
    assert column_faults({name: kind for name, kind in good.items() if name != "image"}) == [
        "it has no column image"
    ]
