"""Apply one feed to the catalogue: check, put aside what cannot be taken, merge the rest in one commit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.examine import examine
from recsim_tasks.catalogue.feed import Feed, open_feed
from recsim_tasks.catalogue.merge import append_quarantine, create_tables, merge_products
from recsim_tasks.catalogue.readers import read_rows
from recsim_tasks.catalogue.spark import following, spark_session
from recsim_tasks.catalogue.table import head
from recsim_tasks.foundation.errors import HeldError, InputError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.progress import say
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

COUNTS = ("inserted", "updated", "deleted", "unchanged", "quarantined")


def ingest_feed(settings: Settings, folder: Path) -> dict[str, Any]:
    """Apply the feed in `folder` once; the result counts what became of its rows.

    Raises `InputError` (bad feed) and `HeldError` (it would withdraw too much); then nothing was written.
    """
    feed = open_feed(folder)
    with lease(settings.home, settings.products_uri):
        if _was_applied(settings, feed):
            say(f"Feed {feed.manifest.feed_id} was applied before; nothing to do.")
            return _result(settings, feed, applied=False, counts=dict.fromkeys(COUNTS, 0))
        with spark_session(settings, f"recsim ingest {feed.manifest.feed_id}") as spark, following(spark, "ingest"):
            return _result(settings, feed, applied=True, counts=_apply(spark, settings, feed))


def _was_applied(settings: Settings, feed: Feed) -> bool:
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(settings.products_uri):
        return False
    return DeltaTable(settings.products_uri).transaction_version(feed.application) is not None


def _apply(spark: SparkSession, settings: Settings, feed: Feed) -> dict[str, int]:
    raw = read_rows(spark, feed)
    _check_count(raw, feed)
    create_tables(spark, settings)
    rows = examine(raw, settings, feed).persist()
    try:
        if feed.manifest.full:
            _guard_withdrawal(spark, settings, rows)
        quarantined = append_quarantine(settings, feed, rows)
        done = merge_products(spark, settings, feed, rows)
        unchanged = feed.manifest.rows - quarantined - done["inserted"] - done["updated"] - done["deleted"]
        return {**done, "deleted": done["deleted"] + done["withdrawn"], "unchanged": unchanged, "quarantined": quarantined}
    finally:
        rows.unpersist()


def _check_count(raw: DataFrame, feed: Feed) -> None:
    from pyspark.errors import PySparkException

    try:
        found = raw.count()
    except PySparkException as error:
        raise InputError(f"{feed.source} cannot be read as {feed.kind}: {error}. Correct it and deliver the feed again.") from error
    if found != feed.manifest.rows:
        raise InputError(
            f"Feed {feed.manifest.feed_id} holds {found:,} rows, its manifest says {feed.manifest.rows:,}: it was cut short or changed. Deliver it again."
        )


def _guard_withdrawal(spark: SparkSession, settings: Settings, rows: DataFrame) -> None:
    products = spark.read.format("delta").load(settings.products_uri).select("product_id")
    there = products.count()
    missing = products.join(rows.select("product_id"), "product_id", "left_anti").count()
    if there and missing / there > settings.max_withdrawn_share:
        raise HeldError(
            f"This full feed would withdraw {missing:,} of {there:,} products ({missing / there:.0%}), more than RECSIM_MAX_WITHDRAWN_SHARE allows "
            f"({settings.max_withdrawn_share:.0%}). Nothing was changed. Check the feed; if it is right, raise the setting for this run."
        )


def _result(settings: Settings, feed: Feed, applied: bool, counts: dict[str, int]) -> dict[str, Any]:
    now = head(settings.products_uri)
    counts = {name: counts[name] for name in COUNTS}
    return {"feed_id": feed.manifest.feed_id, "applied": applied, **counts, "table_version": now.version if now else None}
