"""Why the rows of a feed on hold cannot be taken: nothing of it is in a table, so that a file of its own says so until it is decided."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.text import folder_name, one_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NAMED = 5
LONGEST = 300
# Values and numbers, which differ from row to row where the fault is the same; in Java's regular expressions as in Python's.
VALUE = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\d[\d,.]*"""


class RowReason(NamedTuple):
    """A reason, with `…` where its rows differ, how many `rows` have it, and one of them as an `example`."""

    reason: str
    rows: int
    example: str

    def __str__(self) -> str:
        return f"{self.rows:,} rows: {self.reason} ({self.example})"


def row_reasons(classified: DataFrame) -> list[RowReason]:
    """The most frequent reasons why rows of a feed cannot be taken, the most frequent first."""
    from pyspark.sql import functions as f

    bad = classified.where("action = 'quarantine'").withColumn("kind", f.regexp_replace("reason", VALUE, "…"))
    counted = bad.groupBy("kind").agg(
        f.count("*").alias("rows"), f.min(f.struct("number", "product_id", "reason")).alias("first")
    )
    lines = counted.orderBy(f.desc("rows"), "kind").limit(NAMED).collect()
    return [RowReason(_short(line["kind"]), line["rows"], _example(line["first"])) for line in lines]


def keep_held(settings: Settings, feed: Feed, reasons: list[RowReason]) -> None:
    """Note why the rows of a feed cannot be taken, in place of what was noted of the last delivery under its id."""
    told = {
        "feed_id": feed.feed_id,
        "digest": feed.digest,
        "at": time.time(),
        "row_reasons": [reason._asdict() for reason in reasons],
    }
    write_json(_note(settings, feed.feed_id), told)


def forget_held(settings: Settings, feed_id: str) -> None:
    """The feed was taken in or refused: nothing of it waits any more."""
    _note(settings, feed_id).unlink(missing_ok=True)


def held(settings: Settings, feed_id: str | None = None) -> list[dict[str, Any]]:
    """The feeds that a guard held last on this home, or the one with this id, the newest first: `feed_id`, `digest`, `at`, `row_reasons`."""
    found = []
    for path in _folder(settings).glob("*.json"):
        try:
            told = read_json(path)
            entry = {name: told[name] for name in ("feed_id", "digest", "at")}
            reasons = [RowReason(**reason)._asdict() for reason in told["row_reasons"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if feed_id in (None, entry["feed_id"]):
            found.append({**entry, "row_reasons": reasons})
    return sorted(found, key=lambda entry: str(entry["at"]), reverse=True)


def _folder(settings: Settings) -> Path:
    return settings.home.absolute() / "held"


def _note(settings: Settings, feed_id: str) -> Path:
    return _folder(settings) / f"{folder_name(feed_id)}.json"


def _example(first: Any) -> str:
    return _short(f"{first['product_id'] or 'a row without product_id'}: {first['reason']}")


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
