"""delta-rs as a peer: its own merge of the rows that ingest has examined."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from benchmarks.catalogue.data import SCHEMA

PROPERTIES = {"delta.enableChangeDataFeed": "true"}
STATED = ("title", "category", "price", "in_stock")
KEPT = ("image", "image_hash", "updated_at")


def build_table(uri: Path, rows: Path | None) -> None:
    """A table of the same rows; without `rows` an empty one."""
    table = SCHEMA.empty_table() if rows is None else pq.read_table(rows, schema=SCHEMA)
    write_deltalake(str(uri), table, configuration=PROPERTIES)


def merge(uri: Path, changes: pa.Table) -> None:
    """Merge `changes`, doing with each row what ours does."""
    kept = {name: f"coalesce(s.{name}, t.{name})" for name in KEPT}
    merge = DeltaTable(str(uri)).merge(
        changes, "s.product_id = t.product_id", source_alias="s", target_alias="t"
    )
    merge = merge.when_matched_delete("s.op = 'delete'")
    merge = merge.when_matched_update({name: f"s.{name}" for name in STATED} | kept)
    merge.when_not_matched_insert({name: f"s.{name}" for name in SCHEMA.names}, "s.op = 'upsert'").execute()
