"""Apply one feed to the catalogue: read it, decide what it does, let the guards look, then write."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.delta.change_feed import check_properties
from recsim_tasks.catalogue.delta.constraints import check_unfilled
from recsim_tasks.catalogue.delta.health import check_catalogue
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.delta.writer import create_tables, flush
from recsim_tasks.catalogue.feeds.applied import standing
from recsim_tasks.catalogue.feeds.classify import classify, tally, withdrawals
from recsim_tasks.catalogue.feeds.decisions import Answer
from recsim_tasks.catalogue.feeds.feed import Feed, open_feed
from recsim_tasks.catalogue.feeds.guards import GONE, Tally, judge
from recsim_tasks.catalogue.feeds.merge import changed_rows, merge_products, note_applied, note_withdrawals
from recsim_tasks.catalogue.feeds.on_hold import forget_held, keep_held, row_reasons
from recsim_tasks.catalogue.feeds.quarantine import keep_aside
from recsim_tasks.catalogue.feeds.read_errors import unread, unseen
from recsim_tasks.catalogue.feeds.readers import read_rows
from recsim_tasks.catalogue.feeds.validate import examine
from recsim_tasks.foundation.errors import InputError, OnHoldError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.spark import following, spark_session
from recsim_tasks.foundation.spark_executors import blind_hosts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

COUNTS = ("inserted", "updated", "deleted", "unchanged", "outdated", "quarantined")


@dataclass(frozen=True)
class Order:
    """Who asks: the refresh that this is a part of, and who accepted the feed although a guard holds it (None: nobody did)."""

    refresh: str | None = None
    accepted_by: str | None = None


def ingest_feed(
    settings: Settings, folder: Path, order: Order | None = None, answer: Answer | None = None
) -> dict[str, Any]:
    """Apply the feed in `folder` once, also when a guard holds it if the `answer` accepts it; the result counts what became of its rows.

    Raises `InputError` (bad feed) and `OnHoldError` (a guard wants somebody to look first); then nothing was written.
    """
    feed, order = open_feed(folder), order or Order()
    check_before(settings)
    return apply_feed(
        settings, feed, replace(order, accepted_by=answer.accepts_alone(feed)) if answer else order
    )


def apply_feed(settings: Settings, feed: Feed, order: Order) -> dict[str, Any]:
    """As `ingest_feed`, of a feed that was opened."""
    with lease(settings.home, settings.products_uri):
        known = standing(settings.products_uri, feed)
        if known.applied:
            log.info(f"Feed {feed.feed_id} was applied before; nothing to do.")
            result = _result(settings, feed, applied=False, tally=Tally([], {}))
        else:
            if known.undone_at is not None:
                log.info(
                    f"Feed {feed.feed_id} was applied before and undone by the RESTORE in version {known.undone_at}: it is applied again."
                )
                feed = replace(feed, undone_at=known.undone_at)
            result = _apply_new(settings, feed, order)
        flush(settings.products_uri)  # also what a try committed that was killed before it came here
        return result


def check_before(settings: Settings) -> None:
    """`InputError` or `ConfigurationError`, before anything is read, when the catalogue is not one that feeds can be merged into."""
    now = head(settings.products_uri)
    if now is not None:
        check_properties(settings.products_uri)
        check_unfilled(settings.products_uri)
        check_catalogue(settings.products_uri, now)


def was_applied(settings: Settings, feed: Feed) -> bool:
    """Whether the catalogue has this very delivery; `InputError` when it has another one under the same id."""
    return standing(settings.products_uri, feed).applied


def _apply_new(settings: Settings, feed: Feed, order: Order) -> dict[str, Any]:
    with spark_session(settings, f"recsim ingest {feed.feed_id}") as spark, following(spark, "ingest"):
        return _apply(spark, settings, feed, order)


def _apply(spark: SparkSession, settings: Settings, feed: Feed, order: Order) -> dict[str, Any]:
    with _examined(spark, settings, feed) as rows:
        classified = classify(rows, settings, feed.manifest.rows).persist()
        withdrawn = withdrawals(classified, settings) if feed.manifest.full else None
        told = tally(classified, withdrawn, settings)
        _log(feed, told)
        acceptance = _ask_guards(settings, feed, told, order, classified)
        create_tables(spark, settings)
        keep_aside(settings, feed, rows, classified, told.count("quarantine"))
        note_withdrawals(settings, feed, classified)
        changes = changed_rows(rows, classified, withdrawn)
        write = merge_products if told.count("insert", "update", *GONE) else note_applied
        write(settings, feed, changes, {"refresh": order.refresh, **acceptance})
        classified.unpersist()
        forget_held(settings, feed.feed_id)
        return _result(settings, feed, applied=True, tally=told) | acceptance


@contextmanager
def _examined(spark: SparkSession, settings: Settings, feed: Feed) -> Iterator[DataFrame]:
    """The feed's rows, decoded once and kept; their number is the manifest's."""
    if blind_hosts(
        spark, settings.spark_master, feed.source
    ):  # else images that lie beside the rows would pass for missing ones
        raise unseen(feed)
    rows = examine(read_rows(spark, feed), feed.folder, settings.image_max_pixels).persist()
    try:
        found = _count(rows, feed)
        if found != feed.manifest.rows:
            raise InputError(
                f"Feed {feed.feed_id} holds {found:,} rows, its manifest says {feed.manifest.rows:,}: it was cut short or changed. Deliver it again."
            )
        yield rows
    finally:
        rows.unpersist()


def _count(rows: DataFrame, feed: Feed) -> int:
    try:
        return rows.count()
    except Exception as error:  # PySpark's own classes, or py4j's
        known = unread(error, feed)
        if known is None:
            raise
        raise known from error


def _ask_guards(
    settings: Settings, feed: Feed, told: Tally, order: Order, classified: DataFrame
) -> dict[str, Any]:
    """What the commit says of an acceptance; `OnHoldError` when a guard holds the feed and no person accepted it."""
    figures = judge(told, settings)
    reasons = [figure.sentence for figure in figures]
    if not figures:
        return {}
    if order.accepted_by is not None:
        log.info(f"Accepted by {order.accepted_by} although: {' '.join(reasons)}")
        guards = [figure.guard for figure in figures]
        return {
            "accepted": {"by": order.accepted_by, "at": time.time(), "guards": guards, "reasons": reasons}
        }
    found = row_reasons(classified) if told.count("quarantine") else []
    keep_held(settings, feed, found)
    why = (
        f"Most frequent among the rows that cannot be taken: {'; '.join(map(str, found))}. " if found else ""
    )
    raise OnHoldError(
        f"Feed {feed.feed_id} is on hold. {' '.join(reasons)} {why}Nothing was written. Accept it as it is with "
        f"`recsim ingest --accept {feed.feed_id}`, or refuse it with `recsim ingest --refuse {feed.feed_id}`. "
        "To accept a feed outside the inbox, pass its folder: `recsim ingest FOLDER --accept ID`.",
        {
            "reasons": reasons,
            "held": {
                "feed_id": feed.feed_id,
                "digest": feed.digest,
                "folder": str(feed.folder),
                "figures": [figure.as_json() for figure in figures],
                "row_reasons": [reason._asdict() for reason in found],
            },
        },
    )


def _log(feed: Feed, told: Tally) -> None:
    actions = sorted({entry.action for entry in told.done})
    log.info(
        f"Feed {feed.feed_id}, {told.rows:,} rows: {', '.join(f'{told.count(action):,} {action}' for action in actions)}."
    )


def _result(settings: Settings, feed: Feed, applied: bool, tally: Tally) -> dict[str, Any]:
    now = head(settings.products_uri)
    actions = (("insert",), ("update",), GONE, ("unchanged",), ("outdated",), ("quarantine",))
    counts = {name: tally.count(*which) for name, which in zip(COUNTS, actions, strict=True)}
    return {
        "feed_id": feed.feed_id,
        "applied": applied,
        **counts,
        "quarantined_share": round(counts["quarantined"] / feed.manifest.rows, 4),
        "table_version": now.version if now else None,
    }
