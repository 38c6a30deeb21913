"""Ingest two feeds on a real cluster: one is corrupt, the file of the other disappears after the driver has
opened it.
"""

from __future__ import annotations

import sys
from typing import Any

from recsim_tasks.catalogue.feeds import ingest
from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.catalogue.feeds.inbox import ingest_inbox
from recsim_tasks.catalogue.feeds.readers import read_rows
from recsim_tasks.foundation.errors import UnavailableError
from recsim_tasks.foundation.settings import load_settings

GARBAGE = bytes(range(256)) * 64


def read_and_break(spark: Any, feed: Feed) -> Any:
    """Like `read_rows`, which opens the file; Spark's executors read it later."""
    rows = read_rows(spark, feed)
    if "corrupt" in feed.feed_id:
        content = feed.source.read_bytes()
        feed.source.write_bytes(content[:4] + GARBAGE[: len(content) - 1000] + content[len(content) - 996 :])
    else:
        feed.source.unlink()
    return rows


if __name__ == "__main__":
    ingest.read_rows = read_and_break  # type: ignore[attr-defined]
    try:
        ingest_inbox(load_settings())
    except UnavailableError as error:
        print(error)
        sys.exit(1)
