from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from catalogue.delta.test_net_changes import at_head
from recsim_tasks.catalogue.delta.feed_commits import feed_commits, feeds_between
from recsim_tasks.contracts import Cursor


def commit(uri: str, **metadata: Any) -> Cursor:
    properties = CommitProperties(custom_metadata={"userMetadata": json.dumps(metadata)})
    write_deltalake(uri, pa.table({"product_id": ["a"]}), mode="append", commit_properties=properties)
    return at_head(uri)


def test_feeds_are_known_by_the_commits_that_applied_them(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    first = commit(uri, feed_id="one")
    commit(uri, note="not a feed")
    last = commit(uri, feed_id="two", accepted={"by": "ada", "guards": ["max_withdrawn_share"]})
    one, two = feed_commits(uri)
    assert (one.feed_id, one.version, one.accepted_by, one.guards) == ("one", 0, None, frozenset())
    assert (two.version, two.accepted_by, two.guards) == (2, "ada", frozenset({"max_withdrawn_share"}))
    assert one.at <= two.at
    assert feeds_between(uri, first, last) == [two]
    assert feeds_between(uri, Cursor("another", 9), last) == feeds_between(uri, None, last) == [one, two]


def test_an_acceptance_of_another_writer_is_ignored(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    commit(uri, feed_id="one", accepted="by hand")
    (one,) = feed_commits(uri)
    assert (one.accepted_by, one.guards) == (None, frozenset())


def test_a_feed_that_a_restore_has_undone_is_left_out(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    commit(uri, feed_id="one")
    commit(uri, feed_id="undone")
    DeltaTable(uri).restore(0)
    assert [entry.feed_id for entry in feed_commits(uri)] == ["one", "undone"]
    assert [entry.feed_id for entry in feeds_between(uri, None, at_head(uri))] == ["one"]
