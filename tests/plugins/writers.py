"""What other systems write: commits of a table, and feeds in an inbox."""

from __future__ import annotations

from pathlib import Path


def commit(uri: str | Path, change_feed: bool = True) -> str:
    """Append a row to the table at `uri`, which is created if there is none; returns its id."""
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    properties = {"delta.enableChangeDataFeed": "true"} if change_feed else None
    write_deltalake(str(uri), pa.table({"product_id": ["a"]}), mode="append", configuration=properties)
    return str(DeltaTable(str(uri)).metadata().id)


def land(inbox: Path, name: str, close: bool = True) -> Path:
    """Make the folder of a feed, and its manifest unless the feed stays open."""
    feed = inbox / name
    feed.mkdir(parents=True)
    if close:
        (feed / "manifest.json").write_text("{}")
    return feed
