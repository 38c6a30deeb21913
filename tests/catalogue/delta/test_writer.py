from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, write_deltalake

from recsim_tasks.catalogue.delta.writer import told_by_commits


def test_what_commits_say_of_themselves_is_read_past_what_others_wrote(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    assert told_by_commits(uri) == []
    for said in ('{"feed_id": "one"}', "a hand-made repair", "[1]", None, '{"feed_id": "two"}'):
        properties = CommitProperties(custom_metadata={"userMetadata": said}) if said else None
        write_deltalake(uri, pa.table({"product_id": ["x"]}), mode="append", commit_properties=properties)
    assert [entry["feed_id"] for entry in told_by_commits(uri)] == ["two", "one"]
