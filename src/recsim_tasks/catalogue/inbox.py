"""The inbox: feeds that have landed, taken in order of arrival and moved aside once they are dealt with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from recsim_tasks.catalogue.feed import closed_feeds
from recsim_tasks.catalogue.ingest import COUNTS, ingest_feed
from recsim_tasks.catalogue.table import head
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.progress import say
from recsim_tasks.foundation.publishing import fsync_directory, write_json
from recsim_tasks.foundation.settings import Settings

# Beside the feeds, so that moving one aside is a rename; with a leading dot, so that nobody takes it for a feed.
APPLIED, REFUSED = ".applied", ".refused"


def ingest_inbox(settings: Settings) -> dict[str, Any]:
    """Apply every closed feed; the result sums up, with one entry a feed in `feeds`.

    A feed that cannot be used goes to `.refused` beside the reason, the others go on; at the end `InputError` says which it was, so that
    somebody looks. A feed that is held (`HeldError`) stays where it is, and so do those after it: their order matters.
    """
    results, refused = [], []
    for feed in closed_feeds(settings.inbox_dir):
        try:
            results.append(ingest_feed(settings, feed))
        except InputError as error:
            refused.append(str(error))
            say(f"Refused: {error}")
            write_json(_move_aside(feed, REFUSED) / "refused.json", {"reason": str(error)})
        else:
            _move_aside(feed, APPLIED)
    if refused:
        raise InputError(
            f"{' '.join(refused)} The feed now lies in {settings.inbox_dir / REFUSED}; {len(results)} others were taken in. Clear this task to go on without it."
        )
    return _sum(settings, results)


def _move_aside(feed: Path, folder: str) -> Path:
    aside = feed.parent / folder
    aside.mkdir(exist_ok=True)
    target = aside / f"{time.time_ns()}-{feed.name}"
    feed.rename(target)
    fsync_directory(aside)
    return target


def _sum(settings: Settings, results: list[dict[str, Any]]) -> dict[str, Any]:
    now = head(settings.products_uri)
    return {
        "feed_id": ", ".join(result["feed_id"] for result in results) or None,
        "applied": any(result["applied"] for result in results),
        **{name: sum(result[name] for result in results) for name in COUNTS},
        "table_version": now.version if now else None,
        "feeds": results,
    }
