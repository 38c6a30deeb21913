"""Write a feed's changes into the catalogue, in one Delta commit that carries the feed's id."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.writer import WITHDRAWALS, TableSpec, commit_metadata, create_table
from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.catalogue.schema import KEPT, PRODUCT_TYPES, STATED
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def changed_rows(rows: DataFrame, classified: DataFrame, withdrawn: DataFrame | None) -> DataFrame:
    """Return the rows that change a product, with the image only if it is a new one.

    The `withdrawn` products are added as deletions.
    """
    changed = classified.where("action IN ('insert', 'update', 'delete')").join(
        rows.select("number", "image"), "number"
    )
    # An image with the same hash is only another encoding: the stored one stays.
    changed = changed.selectExpr(
        "action",
        *(name for name in PRODUCT_TYPES if name != "image"),
        "IF(image_hash <=> t_image_hash, NULL, image) AS image",
    )
    if withdrawn is None:
        return changed
    return changed.unionByName(
        withdrawn.selectExpr("product_id", "'delete' AS action"), allowMissingColumns=True
    )


def merge_products(
    settings: Settings, feed: Feed, changes: DataFrame, metadata: Mapping[str, object]
) -> None:
    """Merge `changes` into the catalogue; adds `metadata` to the feed's id and digest in the commit."""
    from delta import DeltaTable

    spark = changes.sparkSession
    values = {name: f"s.{name}" for name in STATED} | {name: f"coalesce(s.{name}, t.{name})" for name in KEPT}
    merge = (
        DeltaTable.forPath(spark, settings.products_uri)
        .alias("t")
        .merge(changes.alias("s"), "s.product_id = t.product_id")
        .whenMatchedDelete("s.action = 'delete'")
        .whenMatchedUpdate("s.action = 'update'", values)
        .whenNotMatchedInsert("s.action = 'insert'", {name: f"s.{name}" for name in PRODUCT_TYPES})
    )
    with _feed_commit(spark, feed, metadata):
        merge.execute()


def record_applied(
    settings: Settings, feed: Feed, changes: DataFrame, metadata: Mapping[str, object]
) -> None:
    """Commit a version without data, which records that a feed without changes was applied."""
    with _feed_commit(changes.sparkSession, feed, metadata):
        empty = changes.select(*PRODUCT_TYPES).limit(0)
        empty.write.format("delta").mode("append").save(settings.products_uri)


def record_withdrawals(settings: Settings, feed: Feed, classified: DataFrame) -> None:
    """Record when products were deleted, so that an older row that arrives later does not restore them.

    Repeating it changes nothing.
    """
    from pyspark.sql import functions as f

    dated = classified.where("op = 'delete' AND updated_at IS NOT NULL AND action IN ('delete', 'unchanged')")
    withdrawals = dated.select(
        "product_id", "updated_at", f.lit(feed.feed_id).alias("feed_id"), f.current_timestamp().alias("at")
    )
    if withdrawals.isEmpty():
        return
    with lease(settings.home, settings.withdrawals_uri):
        create_table(withdrawals.sparkSession, TableSpec(uri=settings.withdrawals_uri, columns=WITHDRAWALS))
        writer = withdrawals.write.format("delta").mode("overwrite")
        writer.option("replaceWhere", f"feed_id = '{feed.feed_id}'").save(settings.withdrawals_uri)


def _feed_commit(
    spark: SparkSession, feed: Feed, metadata: Mapping[str, object]
) -> AbstractContextManager[None]:
    """Make the next commit the feed's."""
    values = {"feed_id": feed.feed_id, "digest": feed.digest, **metadata}
    return commit_metadata(spark, feed.application, feed.transaction, values)
