from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsim_airflow.commits import (
    LastLook,
    TableChanges,
    TableHead,
    UnreadableTableError,
    VersionCondition,
    is_foreign,
    table_changes,
    table_head,
    wait_status,
)
from recsim_tasks.catalogue.delta.log import CommitInfo
from recsim_tasks.contracts import Cursor

AT_3 = Cursor("id", 3)


def head(version: int, change_feed: bool = True) -> TableHead:
    return TableHead("id", version, change_feed)


@pytest.mark.parametrize(
    ("head", "min_version", "kind", "sentence"),
    [
        (None, 0, "wait", "t does not exist yet."),
        (head(3), 4, "wait", "t is at version 3, not yet at 4."),
        (head(4), 4, "ready", "t is at version 4; 4 was asked for."),
        (head(9), 4, "ready", "t is at version 9; 4 was asked for."),
        (head(0), 0, "ready", "t is at version 0; 0 was asked for."),
        (head(9, change_feed=False), 4, "refuse", "t has no change feed."),
        (head(3, change_feed=False), 4, "refuse", "t has no change feed."),
    ],
)
def test_the_wait_ends_when_the_table_has_the_version_and_a_change_feed(
    head: TableHead | None, min_version: int, kind: str, sentence: str
) -> None:
    status = wait_status("t", head, VersionCondition(min_version, None))
    assert status.kind == kind
    assert status.sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("after", "kind", "start"),
    [
        (AT_3, "wait", 4),
        (Cursor("id", 2), "ready", 3),
        (Cursor("another", 9), "ready", 0),
        (Cursor("id", 9), "ready", 0),
        (None, "ready", 0),
    ],
    ids=["nothing new", "one commit", "another table", "reset to before the cursor", "no cursor"],
)
def test_without_a_version_any_commit_after_the_cursor_ends_the_wait(
    after: Cursor | None, kind: str, start: int
) -> None:
    condition = VersionCondition(None, after)
    assert wait_status("t", head(3), condition).kind == kind
    assert condition.start(head(3)) == start


@pytest.mark.parametrize(
    ("commit", "foreign"),
    [
        ({"operation": "MERGE"}, True),
        ({"operation": "WRITE", "userMetadata": "by hand"}, True),
        ({"operation": "MERGE", "userMetadata": json.dumps({"feed_id": "f", "refresh": None})}, True),
        (
            {"operation": "MERGE", "userMetadata": json.dumps({"feed_id": "f", "refresh": "scheduled__1"})},
            False,
        ),
        ({"operation": "RESTORE"}, True),
        ({"operation": "CREATE TABLE AS SELECT"}, True),
        ({"operation": "CREATE TABLE"}, False),
        ({"operation": "something new"}, True),
        ({"operation": "OPTIMIZE"}, False),
        ({"operation": "VACUUM END"}, False),
        ({"operation": "SET TBLPROPERTIES"}, False),
        ({"operation": "ADD CONSTRAINT"}, False),
    ],
)
def test_a_foreign_commit_changes_rows_and_was_not_made_by_a_refresh(
    commit: dict[str, Any], foreign: bool
) -> None:
    assert is_foreign(CommitInfo.parse(1, commit)) is foreign


@pytest.mark.parametrize(
    ("foreign", "last", "committed", "due"),
    [
        ([3], None, None, (True, True)),
        ([], None, None, (False, True)),
        ([3], LastLook(Cursor("id", 2), 990), None, (True, True)),
        ([], LastLook(Cursor("id", 2), 990), None, (False, True)),
        ([], LastLook(AT_3, 990), None, (False, False)),
        ([], LastLook(AT_3, 800), None, (True, True)),
        ([], LastLook(AT_3, 800), AT_3, (False, False)),
        ([], LastLook(AT_3, 800), Cursor("another", 3), (True, True)),
    ],
    ids=[
        "first look, changed by another",
        "first look, changed by a refresh",
        "changed by another",
        "changed by a refresh",
        "behind for a short while",
        "behind for long",
        "not behind",
        "behind in another table",
    ],
)
def test_foreign_changes_and_a_release_that_stays_behind_are_announced(
    foreign: list[int], last: LastLook | None, committed: Cursor | None, due: tuple[bool, bool]
) -> None:
    assert TableChanges(AT_3, foreign).due(last, committed, now=1000, reannounce_after=100) == due


def test_head_and_changes_of_a_real_table_are_read(tmp_path: Path) -> None:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, write_deltalake

    def write(refresh: str | None) -> None:
        metadata = CommitProperties(custom_metadata={"userMetadata": json.dumps({"refresh": refresh})})
        write_deltalake(uri, pa.table({"product_id": ["a"]}), mode="append", commit_properties=metadata)

    uri = str(tmp_path / "products")
    assert table_head(uri, {}) is None
    assert table_changes(uri, [], {}) is None
    write("manual__1")
    table_id = str(DeltaTable(uri).metadata().id)
    assert table_head(uri, {}) == TableHead(table_id, 0, change_feed=False)
    DeltaTable(uri).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    assert table_head(uri, {}) == TableHead(table_id, 1, change_feed=True)
    write(None)
    DeltaTable(uri).optimize.compact()
    at_3 = Cursor(table_id, 3)
    assert table_changes(uri, [], {}) == TableChanges(at_3, [2])
    assert table_changes(uri, [None, Cursor(table_id, 2)], {}) == TableChanges(at_3, [])
    others: list[Cursor | None] = [Cursor("another", 2), Cursor(table_id, 9)]
    assert table_changes(uri, others, {}) == TableChanges(at_3, [2])
    DeltaTable(uri).create_checkpoint()
    Path(uri, "_delta_log", f"{2:020d}.json").unlink()
    assert table_changes(uri, [Cursor(table_id, 1)], {}) == TableChanges(at_3, [2])


def test_an_unreadable_table_is_not_mistaken_for_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / f"{0:020}.json").write_text("no JSON")
    with pytest.raises(UnreadableTableError, match=r"cannot be read: "):
        table_head(str(tmp_path), {})
