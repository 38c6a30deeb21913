"""Write to the catalogue and the quarantine: one Delta commit each, remembered under the feed's id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.feed import Feed
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PRODUCTS = "product_id string, title string, category string, price double, in_stock boolean, updated_at timestamp, image binary, image_hash string"
QUARANTINE = "feed_id string, product_id string, reason string, row string, image binary, at timestamp"
TRANSACTION = "spark.databricks.delta.write.txnAppId", "spark.databricks.delta.write.txnVersion"
USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


def create_tables(spark: SparkSession, settings: Settings) -> None:
    """Create both tables where they are missing.

    Change feed on; column mapping off, since delta-rs then refuses to read the feed; deletion vectors off, so that every reader can follow.
    """
    from delta import DeltaTable

    properties = {
        "delta.enableChangeDataFeed": "true",
        "delta.columnMapping.mode": "none",
        "delta.enableDeletionVectors": "false",
        "delta.deletedFileRetentionDuration": f"interval {settings.retention_days} days",
        "delta.logRetentionDuration": f"interval {settings.retention_days} days",
    }
    for uri, schema in ((settings.products_uri, PRODUCTS), (settings.quarantine_uri, QUARANTINE)):
        table = DeltaTable.createIfNotExists(spark).location(uri).addColumns(spark.createDataFrame([], schema).schema)
        for name, value in properties.items():
            table = table.property(name, value)
        table.execute()


def append_quarantine(settings: Settings, feed: Feed, rows: DataFrame) -> int:
    """Keep the rows that have a reason; a rerun of the same feed adds nothing. Returns how many they are."""
    from pyspark.sql import functions as f

    bad = rows.where("reason is not null")
    count = bad.count()
    if count:
        kept = bad.select(
            f.lit(feed.manifest.feed_id).alias("feed_id"), "product_id", "reason", "row", "image", f.current_timestamp().alias("at")
        )
        options = {"txnAppId": feed.application, "txnVersion": "1"}
        kept.write.format("delta").mode("append").options(**options).save(settings.quarantine_uri)
    return count


def merge_products(spark: SparkSession, settings: Settings, feed: Feed, rows: DataFrame) -> dict[str, int]:
    """Merge the taken rows; a row equal to what is there writes nothing. Returns the counts by what was done.

    Quarantined rows take part without effect, so that a full feed does not withdraw a product because its row was bad.
    """
    from delta import DeltaTable

    source = _with_bystanders(rows) if feed.manifest.full else rows.where("reason is null")
    there = "s.product_id = t.product_id"
    merge = (
        DeltaTable.forPath(spark, settings.products_uri)
        .alias("t")
        .merge(source.alias("s"), there)
        .whenMatchedDelete("s.op = 'delete'")
        .whenMatchedUpdate(f"s.op = 'upsert' AND ({_differs()})", _assignments())
        .whenNotMatchedInsert("s.op = 'upsert'", {name: f"s.{name}" for name in _columns()})
    )
    if feed.manifest.full:
        merge = merge.whenNotMatchedBySourceDelete()
    with _remembered(spark, feed):
        merge.execute()
    return _counts(settings)


def _with_bystanders(rows: DataFrame) -> DataFrame:
    """The taken rows, and one row without effect for each product of which there are only bad ones."""
    from pyspark.sql import functions as f

    taken = rows.where("reason is null")
    bad = rows.where("reason is not null and product_id is not null").dropDuplicates(["product_id"]).withColumn("op", f.lit("keep"))
    return taken.unionByName(bad.join(taken.select("product_id"), "product_id", "left_anti"))


def _counts(settings: Settings) -> dict[str, int]:
    """What the newest commit, ours under the lease, says of itself."""
    from deltalake import DeltaTable

    metrics = DeltaTable(settings.products_uri).history(1)[0]["operationMetrics"]
    names = {"Inserted": "inserted", "Updated": "updated", "MatchedDeleted": "deleted", "NotMatchedBySourceDeleted": "withdrawn"}
    return {ours: int(metrics[f"numTargetRows{theirs}"]) for theirs, ours in names.items()}


def _columns() -> list[str]:
    return [field.split()[0] for field in PRODUCTS.split(", ")]


def _differs() -> str:
    fields = " AND ".join(f"t.{name} <=> s.{name}" for name in ("title", "category", "price", "in_stock"))
    return f"NOT ({fields} AND (s.image_hash IS NULL OR t.image_hash <=> s.image_hash))"


def _assignments() -> dict[str, str]:
    """A row without a picture leaves the picture that is there."""
    kept = {"image", "image_hash"}
    return {name: f"coalesce(s.{name}, t.{name})" if name in kept else f"s.{name}" for name in _columns() if name != "product_id"}


@contextmanager
def _remembered(spark: SparkSession, feed: Feed) -> Iterator[None]:
    """Put the feed's id into the commit, where `ingest` and people look for it."""
    values = dict(zip(TRANSACTION, (feed.application, "1"), strict=True)) | {USER_METADATA: json.dumps({"feed_id": feed.manifest.feed_id})}
    for name, value in values.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name in values:
            spark.conf.unset(name)
