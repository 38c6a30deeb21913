from __future__ import annotations

from pathlib import Path

import pytest

from recsim_airflow.commits import TableHead, decide, table_head


@pytest.mark.parametrize(
    ("head", "min_version", "kind", "sentence"),
    [
        (None, 0, "wait", "t does not exist yet."),
        (TableHead("id", 3, True), 4, "wait", "t is at version 3, not yet at 4."),
        (TableHead("id", 4, True), 4, "ready", "t is at version 4; 4 was asked for."),
        (TableHead("id", 9, True), 4, "ready", "t is at version 9; 4 was asked for."),
        (TableHead("id", 0, True), 0, "ready", "t is at version 0; 0 was asked for."),
        (TableHead("id", 9, False), 4, "refuse", "t has no change feed."),
        (TableHead("id", 3, False), 4, "refuse", "t has no change feed."),
    ],
)
def test_the_wait_is_over_when_a_table_with_its_change_feed_has_the_version(
    head: TableHead | None, min_version: int, kind: str, sentence: str
) -> None:
    decision = decide("t", head, min_version)
    assert decision.kind == kind
    assert decision.sentence.startswith(sentence)


def test_the_head_of_a_real_table_is_read(tmp_path: Path) -> None:
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    uri, rows = str(tmp_path / "products"), pa.table({"product_id": ["a"]})
    assert table_head(uri) is None
    write_deltalake(uri, rows)
    head = table_head(uri)
    assert head == TableHead(str(DeltaTable(uri).metadata().id), 0, change_feed=False)
    DeltaTable(uri).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    assert table_head(uri) == TableHead(head.table_id, 1, change_feed=True)
