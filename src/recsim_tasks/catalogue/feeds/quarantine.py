"""What a feed held that could not be taken: kept with the reason, open until a good row for the product comes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.delta.writer import create_quarantine
from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.catalogue.feeds.on_hold import held
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

COPY = "coalesce(row, to_json(struct(product_id, op, title, category, price, in_stock, updated_at)))"
GOOD = "action IN ('insert', 'update', 'delete', 'unchanged')"
WRITTEN = ["feed_id", "product_id", "released_by", "released_at"]
LISTED = ["feed_id", "product_id", "reason", "row", "at", "released_by", "released_at"]


def keep_aside(settings: Settings, feed: Feed, rows: DataFrame, classified: DataFrame, count: int) -> None:
    """Keep the `count` rows that cannot be taken, and release the older ones of products that the feed states well.

    `rows` are as examined, `classified` says what becomes of each. A rerun leaves the same rows; so does a feed of which another
    delivery under the same id was begun and never finished.
    """
    mine = f"feed_id = '{feed.feed_id}' OR released_by = '{feed.feed_id}'"
    kept = _read(settings, WRITTEN, f"released_at IS NULL OR {mine}")
    others = [row for row in kept if row["feed_id"] != feed.feed_id and row["product_id"] is not None]
    with lease(settings.home, settings.quarantine_uri):
        if count or any(row["feed_id"] == feed.feed_id for row in kept):
            bad = _bad(feed, rows, classified).write.format("delta").mode("overwrite")
            bad.option("replaceWhere", f"feed_id = '{feed.feed_id}'").save(settings.quarantine_uri)
        _release(settings, feed, classified, others)


def keep_products_aside(
    spark: SparkSession, settings: Settings, by: str, reason: str, products: list[str]
) -> None:
    """Have rows without a feed's copy wait for these `products`, put there `by` a model ("model ..."), and for no others by any model."""
    from delta import DeltaTable
    from pyspark.sql import functions as f

    waiting = _read(
        settings, ["feed_id", "product_id"], f"released_at IS NULL AND feed_id LIKE '{by.split()[0]} %'"
    )
    if not waiting and not products:
        return
    mine = {row["product_id"] for row in waiting if row["feed_id"] == by}
    new = sorted((product, by, reason) for product in set(products) - mine)
    with lease(settings.home, settings.quarantine_uri):
        if new:
            create_quarantine(spark, settings)
            rows = spark.createDataFrame(new, "product_id string, feed_id string, reason string").withColumn(
                "at", f.current_timestamp()
            )
            rows.write.format("delta").mode("append").save(settings.quarantine_uri)
        if any(row["feed_id"] != by or row["product_id"] not in products for row in waiting):
            over = f.col("released_at").isNull() & f.col("feed_id").isin(
                sorted({row["feed_id"] for row in waiting})
            )
            kept = (f.col("feed_id") == by) & f.col("product_id").isin(products)
            marks = {"released_by": f.lit(by), "released_at": f.current_timestamp()}
            DeltaTable.forPath(spark, settings.quarantine_uri).update(over & ~kept, marks)


def _release(settings: Settings, feed: Feed, classified: DataFrame, others: list[dict[str, Any]]) -> None:
    """Mark the rows of `others` that wait and whose product the feed states well; take back marks that an unfinished try left."""
    from pyspark.sql import functions as f

    waiting = {row["product_id"] for row in others if row["released_at"] is None}
    marked = {row["product_id"] for row in others if row["released_by"] == feed.feed_id}
    well = _stated_well(classified, waiting | marked)
    now = {"released_by": f.lit(feed.feed_id), "released_at": f.current_timestamp()}
    back = {"released_by": f.lit(None), "released_at": f.lit(None)}
    _mark(settings, feed, classified, waiting & well, "t.released_at IS NULL", now)
    _mark(settings, feed, classified, marked - well, f"t.released_by = '{feed.feed_id}'", back)


def _stated_well(classified: DataFrame, products: set[str]) -> set[str]:
    if not products:
        return set()
    stated = (
        classified.where(GOOD)
        .join(_ids(classified, products), "product_id", "left_semi")
        .select("product_id")
        .distinct()
    )
    return {row[0] for row in stated.collect()}


def _mark(
    settings: Settings, feed: Feed, like: DataFrame, products: set[str], where: str, values: dict[str, Any]
) -> None:
    from delta import DeltaTable

    if not products:
        return
    table = DeltaTable.forPath(like.sparkSession, settings.quarantine_uri).alias("t")
    theirs = f"t.product_id = s.product_id AND t.feed_id <> '{feed.feed_id}' AND {where}"
    table.merge(_ids(like, products).alias("s"), theirs).whenMatchedUpdate(set=values).execute()


def _ids(like: DataFrame, products: set[str]) -> DataFrame:
    from pyspark.sql import functions as f

    return f.broadcast(
        like.sparkSession.createDataFrame([(product,) for product in sorted(products)], "product_id string")
    )


def quarantined(
    settings: Settings, feed_id: str | None, product_id: str | None, released: bool, limit: int
) -> dict[str, Any]:
    """How many rows lie in quarantine, by reason, and the newest `limit` of them without their images; released ones when asked for.

    `held` are the feeds that wait for an answer: of these nothing is in quarantine yet.
    """
    found = [
        row
        for row in _read(settings, LISTED, None if released else "released_at IS NULL")
        if feed_id in (None, row["feed_id"]) and product_id in (None, row["product_id"])
    ]
    found.sort(key=lambda row: (row["at"], row["product_id"] or ""), reverse=True)
    by_reason = dict(Counter(row["reason"] for row in found).most_common())
    waiting = held(settings, feed_id) if product_id is None else []
    return {"rows": len(found), "by_reason": by_reason, "newest": found[:limit], "held": waiting}


def _read(settings: Settings, columns: list[str], where: str | None) -> list[dict[str, Any]]:
    import pyarrow as pa
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(settings.quarantine_uri):
        return []
    scan = DeltaTable(settings.quarantine_uri).scan(columns=columns, predicate=where)
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
        )
    )
