from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, write_deltalake

from recsim_tasks.catalogue.delta.writer import recent_commit_metadata


def test_commit_metadata_of_other_writers_is_skipped(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    assert recent_commit_metadata(uri) == []
    for text in ('{"feed_id": "one"}', "a hand-made repair", "[1]", None, '{"feed_id": "two"}'):
        properties = CommitProperties(custom_metadata={"userMetadata": text}) if text else None
        write_deltalake(uri, pa.table({"product_id": ["x"]}), mode="append", commit_properties=properties)
    assert [entry["feed_id"] for entry in recent_commit_metadata(uri)] == ["two", "one"]
