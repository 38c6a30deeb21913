"""The peer delta-rs: its own merge of rows that ingest has validated."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from benchmarks.catalogue.data import SCHEMA
from recsim_tasks.catalogue.delta.log import CHANGE_FEED
from recsim_tasks.catalogue.schema import KEPT, STATED

PROPERTIES = {CHANGE_FEED: "true"}


def build_table(uri: Path, rows: Path | None) -> None:
    """Create a table of the same rows; an empty one without `rows`."""
    table = SCHEMA.empty_table() if rows is None else pq.read_table(rows, schema=SCHEMA)
    write_deltalake(str(uri), table, configuration=PROPERTIES)


def merge(uri: Path, changes: pa.Table) -> None:
    """Merge `changes` with the same effect on each row as our ingest."""
    kept = {name: f"coalesce(s.{name}, t.{name})" for name in KEPT}
    merge = DeltaTable(str(uri)).merge(
        changes, "s.product_id = t.product_id", source_alias="s", target_alias="t"
    )
    merge = merge.when_matched_delete("s.op = 'delete'")
    merge = merge.when_matched_update({name: f"s.{name}" for name in STATED} | kept)
    merge.when_not_matched_insert({name: f"s.{name}" for name in SCHEMA.names}, "s.op = 'upsert'").execute()
