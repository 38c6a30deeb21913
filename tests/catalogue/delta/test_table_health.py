from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.delta.table_health import check_catalogue, column_faults, row_faults
from recsim_tasks.catalogue.schema import PRODUCT_TYPES, arrow_schema
from recsim_tasks.foundation.errors import InputError


def products(*rows: dict[str, Any]) -> pa.Table:
    whole = {"title": "t", "image": b"x", "image_hash": "h"}
    return pa.Table.from_pylist([whole | row for row in rows], schema=arrow_schema(PRODUCT_TYPES))


def catalogue(uri: Path, *rows: dict[str, Any]) -> None:
    write_deltalake(str(uri), products(*({"product_id": f"p{n}"} for n in range(3))))
    if rows:
        write_deltalake(str(uri), products(*rows), mode="append")


def check(uri: Path) -> None:
    now = head(str(uri))
    assert now is not None
    check_catalogue(str(uri), now)


def test_an_intact_catalogue_passes_also_with_a_foreign_column(tmp_path: Path) -> None:
    catalogue(tmp_path / "t")
    write_deltalake(
        str(tmp_path / "t"),
        products({"product_id": "p9"}).append_column("brand", pa.array(["b"])),
        mode="append",
        schema_mode="merge",
    )
    check(tmp_path / "t")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"product_id": "p1"}, "it has 1 product more than once: p1"),
        ({"product_id": None}, "1 product without product_id"),
        ({"product_id": ""}, "1 product without product_id"),
        ({"product_id": "p7", "image_hash": None}, "1 product without image_hash: p7"),
        ({"product_id": "p7", "image": None}, "1 product without image: p7"),
        ({"product_id": "\x1b[31mred", "image": None}, r"without image: \\x1b\[31mred"),
    ],
)
def test_a_bad_row_of_another_writer_is_found_and_named(
    tmp_path: Path, row: dict[str, Any], fault: str
) -> None:
    catalogue(tmp_path / "t", row)
    with pytest.raises(InputError, match=fault):
        check(tmp_path / "t")


def test_a_repaired_row_is_not_a_fault(tmp_path: Path) -> None:
    catalogue(tmp_path / "t", {"product_id": "p7", "image": None})
    DeltaTable(str(tmp_path / "t")).delete("product_id = 'p7'")
    check(tmp_path / "t")


def test_at_most_five_products_are_named() -> None:
    faults = row_faults(
        pa.table({"product_id": ["b"] * 2, "image_hash": ["h"] * 2}), [f"p{n}" for n in range(8)]
    )
    assert faults == [
        "1 product more than once: b",
        "8 products without image: p0, p1, p2, p3, p4 and 3 more",
    ]


def test_missing_columns_and_wrong_types_are_named() -> None:
    good = {**PRODUCT_TYPES}
    assert column_faults(good) == column_faults({**good, "colour": "string"}) == []
    assert column_faults({**good, "price": "float"}) == ["price is float, not double"]
    assert column_faults({name: kind for name, kind in good.items() if name != "image"}) == [
        "it has no column image"
    ]
