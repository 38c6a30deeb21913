from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from recsim_tasks.catalogue.delta.constraints import Constraint, check_foreign_columns, read_constraints
from recsim_tasks.foundation.errors import ConfigurationError


def products(*required: str) -> pa.Table:
    """`product_id`, `category`, and the column `brand` of another writer.

    The `required` ones are NOT NULL.
    """
    fields = [
        pa.field(name, pa.string(), nullable=name not in required)
        for name in ("product_id", "category", "brand")
    ]
    return pa.table([["p"], ["c"], ["b"]], schema=pa.schema(fields))


def test_checks_and_not_null_columns_are_constraints(tmp_path: Path) -> None:
    assert read_constraints(str(tmp_path)) == []
    write_deltalake(str(tmp_path / "t"), products("category"))
    DeltaTable(str(tmp_path / "t")).alter.add_constraint({"known": "product_id <> 'x'"})
    check, not_null = read_constraints(str(tmp_path / "t"))
    assert (check.name, "product_id" in check.condition) == ("constraint known", True)
    assert not_null == Constraint("category NOT NULL", "`category` IS NOT NULL")
    check_foreign_columns(str(tmp_path / "t"))


def test_a_foreign_column_that_is_not_null_stops_every_ingest(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "t"), products("brand"))
    with pytest.raises(ConfigurationError, match="ALTER COLUMN `brand` DROP NOT NULL"):
        check_foreign_columns(str(tmp_path / "t"))
