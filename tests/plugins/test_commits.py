from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsim_airflow.commits import (
    TableChanges,
    TableHead,
    UnreadableTableError,
    VersionCondition,
    decide,
    is_foreign,
    table_changes,
    table_head,
)

AT_3 = {"table_id": "id", "version": 3}


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
def test_the_wait_is_over_when_a_table_with_its_change_feed_has_the_version(
    head: TableHead | None, min_version: int, kind: str, sentence: str
) -> None:
    decision = decide("t", head, VersionCondition(min_version, {}))
    assert decision.kind == kind
    assert decision.sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("after", "kind", "start"),
    [
        (AT_3, "wait", 4),
        ({"table_id": "id", "version": 2}, "ready", 3),
        ({"table_id": "another", "version": 9}, "ready", 0),
        ({"table_id": "id", "version": 9}, "ready", 0),
        ({}, "ready", 0),
    ],
    ids=["nothing new", "one commit", "another table", "put back before the cursor", "no cursor"],
)
def test_without_a_version_whatever_is_newer_than_the_cursor_ends_the_wait(
    after: dict[str, Any], kind: str, start: int
) -> None:
    condition = VersionCondition(None, after)
    assert decide("t", head(3), condition).kind == kind
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
        ({"operation": "something new"}, True),
        ({"operation": "OPTIMIZE"}, False),
        ({"operation": "VACUUM END"}, False),
        ({"operation": "SET TBLPROPERTIES"}, False),
        ({"operation": "ADD CONSTRAINT"}, False),
    ],
)
def test_a_foreign_commit_changes_data_and_is_of_no_refresh(commit: dict[str, Any], foreign: bool) -> None:
    assert is_foreign(commit) is foreign


@pytest.mark.parametrize(
    ("foreign", "seen", "committed", "due"),
    [
        ([3], {}, {}, (True, True)),
        ([], {}, {}, (False, True)),
        ([3], {"table_id": "id", "version": 2, "at": 990}, {}, (True, True)),
        ([], {"table_id": "id", "version": 2, "at": 990}, {}, (False, True)),
        ([], AT_3 | {"at": 990}, {}, (False, False)),
        ([], AT_3 | {"at": 800}, {}, (True, True)),
        ([], AT_3 | {"at": 800}, AT_3, (False, False)),
        ([], AT_3 | {"at": 800}, {"table_id": "another", "version": 3}, (True, True)),
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
def test_an_announcement_is_due_for_foreign_changes_and_for_a_release_that_stays_behind(
    foreign: list[int], seen: dict[str, Any], committed: dict[str, Any], due: tuple[bool, bool]
) -> None:
    assert TableChanges("id", 3, foreign).due(seen, committed, now=1000, reannounce_after=100) == due


def test_the_head_and_the_news_of_a_real_table_are_read(tmp_path: Path) -> None:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, write_deltalake

    def write(refresh: str | None) -> None:
        told = CommitProperties(custom_metadata={"userMetadata": json.dumps({"refresh": refresh})})
        write_deltalake(uri, pa.table({"product_id": ["a"]}), mode="append", commit_properties=told)

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
    assert table_changes(uri, [], {}) == TableChanges(table_id, 3, [2])
    assert table_changes(uri, [{}, {"table_id": table_id, "version": 2}], {}) == TableChanges(table_id, 3, [])
    assert table_changes(
        uri, [{"table_id": "another", "version": 2}, {"table_id": table_id, "version": 9}], {}
    ) == TableChanges(table_id, 3, [2])


def test_a_table_that_cannot_be_read_is_not_taken_for_an_absent_one(tmp_path: Path) -> None:
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / f"{0:020}.json").write_text("no JSON")
    with pytest.raises(UnreadableTableError, match=r"cannot be read: "):
        table_head(str(tmp_path), {})
