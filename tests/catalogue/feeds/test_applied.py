from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from recsim_tasks.catalogue.feeds.applied import AppliedState, applied_state
from recsim_tasks.catalogue.feeds.feed import Feed, open_feed
from recsim_tasks.foundation.errors import InputError


@pytest.fixture
def uri(tmp_path: Path) -> str:
    uri = str(tmp_path / "products")
    write_deltalake(uri, pa.table({"product_id": ["a"]}))
    return uri


def deliver(folder: Path, feed_id: str, rows: str) -> Feed:
    folder.mkdir()
    (folder / "products.csv").write_text(f"product_id\n{rows}\n")
    (folder / "manifest.json").write_text(json.dumps({"feed_id": feed_id, "rows": 1}))
    return open_feed(folder)


def apply(uri: str, feed: Feed) -> None:
    """Commit as a merge does: with the feed's transaction, and its id and digest in the metadata."""
    metadata = json.dumps({"feed_id": feed.feed_id, "digest": feed.digest})
    properties = CommitProperties(
        custom_metadata={"userMetadata": metadata},
        app_transactions=[Transaction(feed.application, feed.transaction)],
    )
    write_deltalake(uri, pa.table({"product_id": ["b"]}), mode="append", commit_properties=properties)


def test_a_feed_is_applied_once_and_its_id_belongs_to_its_content(uri: str, tmp_path: Path) -> None:
    feed, other = deliver(tmp_path / "one", "one", "b"), deliver(tmp_path / "other", "one", "c")
    assert applied_state(str(tmp_path / "nothing"), feed) == AppliedState(False)
    assert applied_state(uri, feed) == AppliedState(False)
    apply(uri, feed)
    assert applied_state(uri, feed) == AppliedState(True)
    with pytest.raises(InputError, match="other content"):
        applied_state(uri, other)


def test_a_restore_undoes_a_feed_until_it_is_applied_again(uri: str, tmp_path: Path) -> None:
    feed, other = deliver(tmp_path / "one", "one", "b"), deliver(tmp_path / "other", "one", "c")
    apply(uri, feed)
    DeltaTable(uri).restore(0)
    assert applied_state(uri, feed) == applied_state(uri, other) == AppliedState(False, undone_at=2)
    apply(uri, replace(feed, undone_at=2))
    assert applied_state(uri, feed) == AppliedState(True)


def test_after_a_restore_a_feed_older_than_the_log_is_not_guessed(uri: str, tmp_path: Path) -> None:
    feed = deliver(tmp_path / "one", "one", "b")
    apply(uri, feed)
    write_deltalake(uri, pa.table({"product_id": ["c"]}), mode="append")
    DeltaTable(uri).restore(0)
    DeltaTable(uri).create_checkpoint()
    for version in range(3):
        Path(uri, "_delta_log", f"{version:020d}.json").unlink()
    with pytest.raises(InputError, match="no longer tells whether the feed is still in it"):
        applied_state(uri, feed)
