from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from recsim_tasks.catalogue.delta.log import (
    CommitInfo,
    commit_file,
    has_change_feed,
    parse_commit,
    read_commits,
    read_history,
)
from recsim_tasks.foundation.errors import RecsimError

ROWS = pa.table({"product_id": ["a"]})


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        ('{"feed_id": "one"}', {"feed_id": "one"}),
        ("a manual repair", {}),
        ("[1]", {}),
        ("[" * 100_000, {}),
        (None, {}),
        (7, {}),
    ],
)
def test_user_metadata_is_an_object_or_empty(text: Any, metadata: dict[str, Any]) -> None:
    assert CommitInfo.parse(1, {"userMetadata": text}).user_metadata == metadata


def test_a_commit_without_information_has_empty_fields() -> None:
    commit = parse_commit(3, b'{"add": {}}')
    assert commit.info == CommitInfo(3, 0.0, "", {}, {})
    assert commit.metadata is None


def test_a_property_is_read_in_any_case() -> None:
    assert has_change_feed({"delta.enableChangeDataFeed": "TRUE"})
    assert not has_change_feed({"delta.enableChangeDataFeed": None})
    assert not has_change_feed({})


def test_commits_and_history_of_a_real_table_agree(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    properties = CommitProperties(custom_metadata={"userMetadata": json.dumps({"refresh": "r1"})})
    write_deltalake(uri, ROWS, commit_properties=properties)
    table = DeltaTable(uri)
    table.alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    write_deltalake(uri, ROWS, mode="append")
    commits = dict(read_commits(uri, range(3)))
    assert [commit.metadata is not None for commit in commits.values() if commit] == [True, True, False]
    first, second, _ = commits.values()
    assert first is not None
    assert first.metadata is not None
    assert (first.metadata.columns, first.metadata.has_change_feed) == (frozenset({"product_id"}), False)
    assert second is not None
    assert second.metadata is not None
    assert second.metadata.has_change_feed
    history = read_history(DeltaTable(uri))
    assert [info.version for info in history] == [2, 1, 0]
    assert (history[2].user_metadata, history[2].operation) == ({"refresh": "r1"}, first.info.operation)
    assert [info.version for info in read_history(DeltaTable(uri), 1)] == [2]


def test_a_commit_that_was_removed_is_none(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    write_deltalake(uri, ROWS)
    write_deltalake(uri, ROWS, mode="append")
    Path(uri, commit_file(0)).unlink()
    assert [commit is None for _, commit in read_commits(uri, range(2))] == [True, False]


def test_a_commit_that_cannot_be_read_is_not_mistaken_for_a_removed_one(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    write_deltalake(uri, ROWS)
    Path(uri, commit_file(0)).write_text('{"commitInfo"')
    with pytest.raises(RecsimError, match=r"Version 0 in the log of the table at .* cannot be read"):
        list(read_commits(uri, [0]))


def test_storage_that_is_away_is_not_mistaken_for_a_removed_commit() -> None:
    storage = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "max_retries": "0",
    }
    with pytest.raises(RecsimError, match="s3://lake/products"):
        list(read_commits("s3://lake/products", [0], storage))
