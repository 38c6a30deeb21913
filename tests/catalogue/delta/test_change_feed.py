"""Every way in which the change feed can become incomplete, on real tables: an error names it, no answer is
partial.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from catalogue.delta.test_net_changes import at_head, merge, product, table
from recsim_tasks.catalogue.delta.change_feed import (
    ChangeFeedGapError,
    check_table_properties,
    parse_days,
    short_retentions,
)
from recsim_tasks.catalogue.delta.net_changes import compare, count_kinds, net_changes
from recsim_tasks.catalogue.delta.reader import read_products
from recsim_tasks.catalogue.schema import INDEXED
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import ConfigurationError, MissingError

ON = {"delta.enableChangeDataFeed": "true"}


@pytest.fixture
def uri(tmp_path: Path) -> str:
    where = str(tmp_path / "products")
    write_deltalake(where, table(product("kept"), product("priced"), product("gone")), configuration=ON)
    return where


def set_feed(uri: str, on: bool) -> None:
    DeltaTable(uri).alter.set_table_properties({"delta.enableChangeDataFeed": str(on).lower()})


def clean_log(uri: str, through: int) -> None:
    """What Delta does after the log's retention: write a checkpoint, then remove the commits before it."""
    DeltaTable(uri).create_checkpoint()
    for version in range(through + 1):
        Path(uri, "_delta_log", f"{version:020d}.json").unlink()


def vacuum(uri: str) -> None:
    DeltaTable(uri).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


def recreate(uri: str) -> None:
    write_deltalake(f"{uri}-new", table(product("other")), configuration=ON)
    Path(uri).rename(f"{uri}-old")
    Path(f"{uri}-new").rename(uri)


def reset(uri: str) -> None:
    for version in (1, 2):
        Path(uri, "_delta_log", f"{version:020d}.json").unlink()


def turn_off(uri: str) -> None:
    set_feed(uri, on=False)


def toggle(uri: str) -> None:
    set_feed(uri, on=False)
    merge(uri, product("unseen"))
    set_feed(uri, on=True)


def clean(uri: str) -> None:
    merge(uri, product("later"))
    clean_log(uri, through=2)


def clean_change_files(uri: str) -> None:
    for file in Path(uri, "_change_data").glob("*.parquet"):
        file.unlink()


def compact_and_vacuum(uri: str) -> None:
    write_deltalake(uri, table(product("appended")), mode="append")
    DeltaTable(uri).optimize.compact()
    vacuum(uri)


def drop_column(uri: str) -> None:
    write_deltalake(
        uri, table(product("kept")).drop_columns(["title"]), mode="overwrite", schema_mode="overwrite"
    )


def drop_column_for_a_while(uri: str) -> None:
    rows = read_products(uri, at_head(uri), list(INDEXED))
    drop_column(uri)
    write_deltalake(uri, rows, mode="overwrite", schema_mode="overwrite")


LOSSES: list[tuple[Callable[[str], None], str]] = [
    (recreate, "was recreated after the release's version 1"),
    (reset, "was reset to version 0, before the release's version 1"),
    (
        turn_off,
        r"is off\. Run: ALTER TABLE delta\.`.*` SET TBLPROPERTIES \('delta.enableChangeDataFeed' = 'true'\)",
    ),
    (toggle, "was off at version 3"),
    (clean, "log .* was cleaned: version 2, after the release's version 1, is gone"),
    (clean_change_files, "files that it needs were removed"),
    (compact_and_vacuum, "files that it needs were removed"),
    (drop_column_for_a_while, "has no column title at version 3"),
]


@pytest.mark.parametrize(("lose", "reason"), LOSSES, ids=[lose.__name__ for lose, _ in LOSSES])
def test_a_gap_is_reported_and_comparing_whole_tables_still_works(
    uri: str, lose: Callable[[str], None], reason: str
) -> None:
    merge(uri, product("priced", price=2.0))
    cursor = at_head(uri)
    before = read_products(uri, cursor, list(INDEXED))
    merge(uri, product("new"), product("kept", image="j"))
    lose(uri)
    with pytest.raises(ChangeFeedGapError, match=reason):
        net_changes(uri, cursor, at_head(uri))
    now = read_products(uri, at_head(uri), list(INDEXED))
    rows = {row["product_id"]: row for row in before.to_pylist()}
    for change in compare(before, now).to_pylist():
        kind = change.pop("kind")
        rows = {name: row for name, row in rows.items() if name != change["product_id"]}
        rows |= {} if kind == "delete" else {change["product_id"]: change}
    assert rows == {row["product_id"]: row for row in now.to_pylist()}


def test_a_feed_that_was_turned_on_late_lacks_earlier_changes(tmp_path: Path) -> None:
    where = str(tmp_path / "late")
    write_deltalake(where, table(product("a")))
    start = at_head(where)
    write_deltalake(where, table(product("b")), mode="append")
    set_feed(where, on=True)
    with pytest.raises(ChangeFeedGapError, match="was off at version 0"):
        net_changes(where, start, at_head(where))
    since = at_head(where)
    write_deltalake(where, table(product("c")), mode="append")
    assert net_changes(where, since, at_head(where))["product_id"].to_pylist() == ["c"]


def test_cleaning_the_log_up_to_the_cursor_makes_no_gap(uri: str) -> None:
    merge(uri, product("before"))
    DeltaTable(uri).create_checkpoint()
    cursor = at_head(uri)
    merge(uri, product("after"))
    clean_log(uri, through=cursor.version)
    assert net_changes(uri, cursor, at_head(uri))["product_id"].to_pylist() == ["after"]


def test_a_property_change_after_a_cleaned_cursor_is_a_gap(uri: str) -> None:
    cursor = at_head(uri)
    set_feed(uri, on=True)
    merge(uri, product("after"))
    clean_log(uri, through=cursor.version)
    with pytest.raises(ChangeFeedGapError, match=r"properties .* changed after version 0"):
        net_changes(uri, cursor, at_head(uri))


def test_vacuum_before_the_cursor_makes_no_gap(uri: str) -> None:
    merge(uri, product("priced", price=2.0))
    DeltaTable(uri).optimize.compact()
    vacuum(uri)
    cursor = at_head(uri)
    DeltaTable(uri).delete("product_id = 'gone'")
    assert count_kinds(net_changes(uri, cursor, at_head(uri)))["delete"] == 1


def test_a_missing_column_is_named(uri: str) -> None:
    cursor = at_head(uri)
    drop_column(uri)
    with pytest.raises(ChangeFeedGapError, match="has no column title"):
        net_changes(uri, cursor, at_head(uri))
    with pytest.raises(MissingError, match="has no column title"):
        read_products(uri, at_head(uri), list(INDEXED))


def test_column_mapping_is_refused_before_the_feed_is_read(uri: str) -> None:
    log = Path(uri, "_delta_log", f"{0:020d}.json")
    log.write_text(
        log.read_text().replace(
            '"delta.enableChangeDataFeed":"true"',
            '"delta.enableChangeDataFeed":"true","delta.columnMapping.mode":"name"',
        )
    )
    with pytest.raises(
        ChangeFeedGapError, match=r"column mapping is on .* \('delta.columnMapping.mode' = 'none'"
    ):
        net_changes(uri, Cursor(at_head(uri).table_id, 0), at_head(uri))


def test_a_recreated_table_is_not_mistaken_for_the_planned_one(uri: str) -> None:
    with pytest.raises(MissingError, match="was recreated"):
        net_changes(uri, Cursor("other", 0), Cursor("other", 0))


def test_short_retentions_are_reported_with_the_command_that_extends_them(uri: str) -> None:
    assert short_retentions(uri, 7) == []
    (sentence,) = short_retentions(uri, 30)
    assert sentence.startswith("delta.deletedFileRetentionDuration of the catalogue is 7 days")
    assert sentence.endswith(
        f"ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ('delta.deletedFileRetentionDuration' = 'interval 30 "
        "days')"
    )
    DeltaTable(uri).alter.set_table_properties(
        {
            "delta.deletedFileRetentionDuration": "interval 6 weeks",
            "delta.logRetentionDuration": "interval 48 hours",
        }
    )
    (sentence,) = short_retentions(uri, 30)
    assert sentence.startswith("delta.logRetentionDuration of the catalogue is 2 days")


@pytest.mark.parametrize(
    ("interval", "days"),
    [("interval 30 days", 30), ("INTERVAL 1 week 12 hours", 7.5), ("interval 90 minutes", 0.0625)],
)
def test_an_interval_is_read_as_delta_writes_it(interval: str, days: float) -> None:
    assert parse_days(interval) == days


def test_a_path_with_spaces_is_read(tmp_path: Path) -> None:
    where = str(tmp_path / "my shop ü" / "products")
    Path(where).mkdir(parents=True)
    write_deltalake(where, table(product("a")), configuration=ON)
    cursor = at_head(where)
    write_deltalake(where, pa.table(table(product("b"))), mode="append")
    assert net_changes(where, cursor, at_head(where))["product_id"].to_pylist() == ["b"]


def test_nothing_is_written_to_a_table_without_change_feed(uri: str) -> None:
    check_table_properties(uri)
    set_feed(uri, False)
    with pytest.raises(
        ConfigurationError,
        match=r"Nothing was written.* is off. Run: ALTER TABLE .*enableChangeDataFeed' = 'true'",
    ):
        check_table_properties(uri)
