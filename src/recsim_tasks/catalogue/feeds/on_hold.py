"""Put feeds on hold, and accept them.

Nothing of a feed on hold is in a table: a file states why its rows are invalid until a person decides.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.contracts import (
    Acceptance,
    FeedOnHold,
    GuardViolation,
    IngestResult,
    OnHoldRecord,
    RowReason,
)
from recsim_tasks.foundation.errors import OnHoldError
from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.text import folder_name, one_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

log = logging.getLogger(__name__)

MAX_REASONS = 5
MAX_LENGTH = 300
# Quoted values and numbers, which differ between rows with the same fault. Valid in Java's regular
# expressions and in Python's.
VALUE = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\d[\d,.]*"""


def row_reasons(classified: DataFrame) -> list[RowReason]:
    """Return the five most frequent reasons why rows of a feed are invalid, most frequent first."""
    from pyspark.sql import functions as f

    invalid = classified.where("action = 'quarantine'")
    invalid = invalid.withColumn("kind", f.regexp_replace("reason", VALUE, "…"))
    counted = invalid.groupBy("kind").agg(
        f.count("*").alias("rows"), f.min(f.struct("number", "product_id", "reason")).alias("first")
    )
    lines = counted.orderBy(f.desc("rows"), "kind").limit(MAX_REASONS).collect()
    return [
        RowReason(reason=_shorten(line["kind"]), rows=line["rows"], example=_example(line["first"]))
        for line in lines
    ]


def put_on_hold(
    settings: Settings, feed: Feed, violations: list[GuardViolation], reasons: list[RowReason]
) -> OnHoldError:
    """Record that the feed is on hold; returns the error that says why, and how to decide."""
    record_hold(settings, feed, reasons)
    sentences = [violation.sentence for violation in violations]
    invalid = "; ".join(reason.sentence for reason in reasons)
    cursor = head(settings.products_uri)
    on_hold = FeedOnHold(
        feed_id=feed.feed_id,
        digest=feed.digest,
        folder=str(feed.folder),
        figures=violations,
        row_reasons=reasons,
    )
    return OnHoldError(
        f"Feed {feed.feed_id} is on hold. {' '.join(sentences)} "
        + (f"Most frequent reasons of invalid rows: {invalid}. " if invalid else "")
        + f"Nothing was written. Accept it as it is with `recsim ingest --accept {feed.feed_id}`, or refuse "
        f"it with `recsim ingest --refuse {feed.feed_id}`. To accept a feed outside the inbox, pass its "
        "folder: `recsim ingest FOLDER --accept ID`.",
        IngestResult(
            feed_id=None,
            applied=False,
            table_version=cursor.version if cursor else None,
            reasons=sentences,
            on_hold=on_hold,
        ),
    )


def accept(by: str, violations: list[GuardViolation]) -> Acceptance:
    """Accept a feed in spite of these violations, in the name of a person."""
    reasons = [violation.sentence for violation in violations]
    log.warning("Accepted by %s in spite of its guards: %s", by, " ".join(reasons))
    guards = [violation.guard for violation in violations]
    return Acceptance(by=by, at=time.time(), guards=guards, reasons=reasons)


def record_hold(settings: Settings, feed: Feed, reasons: list[RowReason]) -> None:
    """Record why the rows of a feed on hold are invalid.

    Replaces the record of an earlier delivery under the same id.
    """
    record = OnHoldRecord(feed_id=feed.feed_id, digest=feed.digest, at=time.time(), row_reasons=reasons)
    write_json(_path(settings, feed.feed_id), record.model_dump(mode="json"))


def clear_hold(settings: Settings, feed_id: str) -> None:
    """Remove the record of a feed that was applied or refused."""
    _path(settings, feed_id).unlink(missing_ok=True)


def feeds_on_hold(settings: Settings, feed_id: str | None = None) -> list[OnHoldRecord]:
    """Return the feeds on hold in this home, newest first, or the one with this id.

    Unreadable records are skipped.
    """
    records = []
    for path in _folder(settings).glob("*.json"):
        try:
            record = OnHoldRecord.model_validate(read_json(path))
        except (OSError, ValueError):
            continue
        if feed_id in (None, record.feed_id):
            records.append(record)
    return sorted(records, key=lambda record: record.at, reverse=True)


def _folder(settings: Settings) -> Path:
    return settings.home.absolute() / "on_hold"


def _path(settings: Settings, feed_id: str) -> Path:
    return _folder(settings) / f"{folder_name(feed_id)}.json"


def _example(first: Row) -> str:
    return _shorten(f"{first['product_id'] or 'a row without product_id'}: {first['reason']}")


def _shorten(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= MAX_LENGTH else f"{line[:MAX_LENGTH]}…"
