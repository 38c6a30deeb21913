"""Apply one feed to the catalogue: validate its rows, classify them, check the guards, then write."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.change_feed import check_table_properties
from recsim_tasks.catalogue.delta.constraints import check_foreign_columns
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.delta.table_health import check_catalogue
from recsim_tasks.catalogue.delta.writer import create_tables, flush
from recsim_tasks.catalogue.feeds.applied import applied_state
from recsim_tasks.catalogue.feeds.classify import classify, feed_effect, withdrawn_products
from recsim_tasks.catalogue.feeds.decisions import FeedDecision
from recsim_tasks.catalogue.feeds.feed import Feed, open_feed
from recsim_tasks.catalogue.feeds.guards import WITHDRAWING, FeedEffect, check_guards
from recsim_tasks.catalogue.feeds.merge import (
    changed_rows,
    merge_products,
    record_applied,
    record_withdrawals,
)
from recsim_tasks.catalogue.feeds.on_hold import accept, clear_hold, put_on_hold, row_reasons
from recsim_tasks.catalogue.feeds.quarantine import quarantine_rows
from recsim_tasks.catalogue.feeds.read_errors import explain_read_error, unseen_file_error
from recsim_tasks.catalogue.feeds.readers import read_rows
from recsim_tasks.catalogue.feeds.validate import validate_rows
from recsim_tasks.contracts import Acceptance, FeedResult, IngestResult, RowCounts, StrayEntry
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.spark import log_stage_progress, spark_session
from recsim_tasks.foundation.spark_executors import hosts_without

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class IngestRequest:
    """What to ingest for, and a person's decision about a feed on hold."""

    refresh: str | None = None
    """The refresh that asks; its id goes into the commits."""
    decision: FeedDecision | None = None


@dataclass(frozen=True, kw_only=True)
class ApplyOptions:
    """How to apply one feed."""

    refresh: str | None = None
    accepted_by: str | None = None
    """Who accepts the feed even if a guard puts it on hold, if any."""


def ingest_feed(settings: Settings, folder: Path, request: IngestRequest | None = None) -> IngestResult:
    """Apply the feed in `folder` once.

    Raises `InputError` for a bad feed and `OnHoldError` if a guard puts it on hold; then nothing was written.
    """
    request = request or IngestRequest()
    feed = open_feed(folder)
    check_catalogue_ready(settings)
    if request.decision is not None:
        request.decision.check_accepts(feed)
    accepted_by = request.decision.by if request.decision else None
    result = apply_feed(settings, feed, ApplyOptions(refresh=request.refresh, accepted_by=accepted_by))
    return sum_up(settings, [result])


def apply_feed(settings: Settings, feed: Feed, options: ApplyOptions) -> FeedResult:
    """Apply an opened feed once; raises like `ingest_feed`."""
    with lease(settings.home, settings.products_uri):
        state = applied_state(settings.products_uri, feed)
        if state.applied:
            log.info("Feed %s was applied before; nothing to do.", feed.feed_id)
            result = _result(settings, feed, RowCounts(), applied=False)
        else:
            if state.undone_at is not None:
                log.warning(
                    "Feed %s was applied before and undone by the RESTORE in version %d; applying it again.",
                    feed.feed_id,
                    state.undone_at,
                )
                feed = replace(feed, undone_at=state.undone_at)
            with (
                spark_session(settings, f"recsim ingest {feed.feed_id}") as spark,
                log_stage_progress(spark, "ingest"),
            ):
                result = _apply(spark, settings, feed, options)
        flush(settings.products_uri)  # also the commit of an earlier try that was killed before this line
        return result


def check_catalogue_ready(settings: Settings) -> None:
    """Raise `InputError` or `ConfigurationError` if no feed can be merged into the catalogue as it is."""
    if (cursor := head(settings.products_uri)) is not None:
        check_table_properties(settings.products_uri)
        check_foreign_columns(settings.products_uri)
        check_catalogue(settings.products_uri, cursor)


def was_applied(settings: Settings, feed: Feed) -> bool:
    """Return whether the catalogue has this delivery.

    Raises `InputError` if it has another one under the same id.
    """
    return applied_state(settings.products_uri, feed).applied


def sum_up(
    settings: Settings, feeds: Sequence[FeedResult], ignored: Sequence[StrayEntry] = ()
) -> IngestResult:
    """Return the result of an ingest of these feeds."""
    cursor = head(settings.products_uri)
    return IngestResult(
        feed_id=", ".join(feed.feed_id for feed in feeds) or None,
        applied=any(feed.applied for feed in feeds),
        table_version=cursor.version if cursor else None,
        feeds=list(feeds),
        ignored=list(ignored),
        **{name: sum(getattr(feed, name) for feed in feeds) for name in RowCounts.model_fields},
    )


def _apply(spark: SparkSession, settings: Settings, feed: Feed, options: ApplyOptions) -> FeedResult:
    with _validated(spark, settings, feed) as rows:
        classified = classify(rows, settings, feed.manifest.rows).persist()
        withdrawn = withdrawn_products(classified, settings) if feed.manifest.full else None
        effect = feed_effect(classified, withdrawn, settings)
        _log_effect(feed, effect)
        acceptance = None
        if violations := check_guards(effect, settings):
            if options.accepted_by is None:
                reasons = row_reasons(classified) if effect.count("quarantine") else []
                raise put_on_hold(settings, feed, violations, reasons)
            acceptance = accept(options.accepted_by, violations)
        create_tables(spark, settings)
        quarantine_rows(settings, feed, rows, classified, effect.count("quarantine"))
        record_withdrawals(settings, feed, classified)
        changes = changed_rows(rows, classified, withdrawn)
        write = merge_products if effect.count("insert", "update", *WITHDRAWING) else record_applied
        accepted = {"accepted": acceptance.model_dump(mode="json")} if acceptance else {}
        write(settings, feed, changes, {"refresh": options.refresh, **accepted})
        classified.unpersist()
        clear_hold(settings, feed.feed_id)
        return _result(settings, feed, effect.row_counts, applied=True, acceptance=acceptance)


@contextmanager
def _validated(spark: SparkSession, settings: Settings, feed: Feed) -> Iterator[DataFrame]:
    """Yield the feed's rows, decoded once and cached; as many as its manifest says."""
    # On a host that does not see the folder, the images beside the rows would pass for missing.
    if hosts_without(spark, settings.spark_master, feed.source):
        raise unseen_file_error(feed)
    rows = validate_rows(read_rows(spark, feed), feed.folder, settings.image_max_pixels).persist()
    try:
        count = _count(rows, feed)
        if count != feed.manifest.rows:
            raise InputError(
                f"Feed {feed.feed_id} has {count:,} rows, its manifest says {feed.manifest.rows:,}: it was "
                "truncated or changed. Deliver it again."
            )
        yield rows
    finally:
        rows.unpersist()


def _count(rows: DataFrame, feed: Feed) -> int:
    try:
        return rows.count()
    except Exception as error:  # of PySpark or of py4j
        known = explain_read_error(error, feed)
        if known is None:
            raise
        raise known from error


def _log_effect(feed: Feed, effect: FeedEffect) -> None:
    actions = sorted({entry.action for entry in effect.actions})
    counts = ", ".join(f"{effect.count(action):,} {action}" for action in actions)
    log.info("Feed %s, %s rows: %s.", feed.feed_id, f"{effect.rows:,}", counts)


def _result(
    settings: Settings, feed: Feed, counts: RowCounts, *, applied: bool, acceptance: Acceptance | None = None
) -> FeedResult:
    cursor = head(settings.products_uri)
    return FeedResult(
        feed_id=feed.feed_id,
        applied=applied,
        table_version=cursor.version if cursor else None,
        accepted=acceptance,
        **counts.model_dump(),
    )
