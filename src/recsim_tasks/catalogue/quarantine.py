"""What a feed held that could not be taken: kept with the reason, open until a good row for the product comes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.feed import Feed
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

COPY = "coalesce(row, to_json(struct(product_id, op, title, category, price, in_stock, updated_at)))"
GOOD = "action IN ('insert', 'update', 'delete', 'unchanged')"
WRITTEN = ["feed_id", "released_by", "released_at"]
LISTED = ["feed_id", "product_id", "reason", "row", "at", "released_by", "released_at"]


def is_concerned(settings: Settings, feed: Feed) -> bool:
    """Whether the quarantine has rows that the feed may release, or that an unfinished try of it left; without a Spark job."""
    return any(row["released_at"] is None or feed.feed_id in (row["feed_id"], row["released_by"]) for row in _read(settings, WRITTEN))


def keep_aside(settings: Settings, feed: Feed, rows: DataFrame, classified: DataFrame) -> None:
    """Keep the rows that cannot be taken, and release the older ones of products that the feed states well, in one commit.

    `rows` are as examined, `classified` says what becomes of each. A rerun leaves the same rows; so does a feed of which another
    delivery under the same id was begun and never finished.
    """
    from delta import DeltaTable
    from pyspark.sql import functions as f

    spark, ours = rows.sparkSession, f"'{feed.feed_id}'"
    kept = spark.read.format("delta").load(settings.quarantine_uri)
    written = f"(feed_id = {ours} OR released_by <=> {ours})"
    waiting = kept.where(f"released_at IS NULL OR {written}").select("product_id").distinct()
    released = waiting.join(classified.where(GOOD).select("product_id"), "product_id", "left_semi")
    source = _bad(feed, rows, classified).unionByName(released.withColumnRenamed("product_id", "key"), allowMissingColumns=True)
    there = f"t.product_id = s.key AND t.feed_id <> {ours} AND (t.released_at IS NULL OR t.released_by = {ours})"
    merge = (
        DeltaTable.forPath(spark, settings.quarantine_uri)
        .alias("t")
        .merge(source.alias("s"), there)
        .whenMatchedUpdate(set={"released_by": f.lit(feed.feed_id), "released_at": f.current_timestamp()})
        .whenNotMatchedInsert("s.key IS NULL", {name: f"s.{name}" for name in kept.columns})
        .whenNotMatchedBySourceDelete(f"t.feed_id = {ours}")
        .whenNotMatchedBySourceUpdate(f"t.released_by = {ours}", {"released_by": "NULL", "released_at": "NULL"})
    )
    with lease(settings.home, settings.quarantine_uri):
        merge.execute()


def quarantined(settings: Settings, feed_id: str | None, product_id: str | None, released: bool, limit: int) -> dict[str, Any]:
    """How many rows lie in quarantine, by reason, and the newest `limit` of them without their images; released ones when asked for."""
    found = [
        row
        for row in _read(settings, LISTED)
        if (released or row["released_at"] is None) and feed_id in (None, row["feed_id"]) and product_id in (None, row["product_id"])
    ]
    found.sort(key=lambda row: (row["at"], row["product_id"] or ""), reverse=True)
    return {"rows": len(found), "by_reason": dict(Counter(row["reason"] for row in found).most_common()), "newest": found[:limit]}


def _read(settings: Settings, columns: list[str]) -> list[dict[str, Any]]:
    import pyarrow as pa
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(settings.quarantine_uri):
        return []
    scan = DeltaTable(settings.quarantine_uri).scan(columns=columns)
    rows: list[dict[str, Any]] = pa.RecordBatchReader.from_stream(scan).read_all().to_pylist()
    return rows


def _bad(feed: Feed, rows: DataFrame, classified: DataFrame) -> DataFrame:
    """The rows for the quarantine; one whose product the same feed states well is released as it comes in."""
    from pyspark.sql import functions as f

    reasons = classified.where("action = 'quarantine'").select("number", f.col("reason").alias("why"))
    good = classified.where(GOOD).select("product_id", f.lit(feed.feed_id).alias("released_by")).distinct()
    now = f.current_timestamp()
    return (
        rows.join(reasons, "number")
        .join(good, "product_id", "left")
        .select(
            f.lit(feed.feed_id).alias("feed_id"),
            "product_id",
            f.col("why").alias("reason"),
            f.expr(COPY).alias("row"),
            "image",
            now.alias("at"),
            "released_by",
            f.when(f.col("released_by").isNotNull(), now).alias("released_at"),
            f.lit(None).cast("string").alias("key"),
        )
    )
