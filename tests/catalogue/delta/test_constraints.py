from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from recsim_tasks.catalogue.delta.constraints import Constraint, check_unfilled, constraints
from recsim_tasks.foundation.errors import ConfigurationError


def products(*demanded: str) -> pa.Table:
    """A product's id and category, and the brand of another writer; those `demanded` may not be null."""
    fields = [
        pa.field(name, pa.string(), nullable=name not in demanded)
        for name in ("product_id", "category", "brand")
    ]
    return pa.table([["p"], ["c"], ["b"]], schema=pa.schema(fields))


def test_checks_and_columns_that_may_not_be_null_are_what_a_row_must_meet(tmp_path: Path) -> None:
    assert constraints(str(tmp_path)) == []
    write_deltalake(str(tmp_path / "t"), products("category"))
    DeltaTable(str(tmp_path / "t")).alter.add_constraint({"known": "product_id <> 'x'"})
    check, filled = constraints(str(tmp_path / "t"))
    assert (check.name, "product_id" in check.condition) == ("constraint known", True)
    assert filled == Constraint("category NOT NULL", "`category` IS NOT NULL")
    check_unfilled(str(tmp_path / "t"))


def test_a_column_of_others_that_may_not_be_null_stops_every_ingest_with_what_to_run(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "t"), products("brand"))
    with pytest.raises(ConfigurationError, match="ALTER COLUMN `brand` DROP NOT NULL"):
        check_unfilled(str(tmp_path / "t"))
