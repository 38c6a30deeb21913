"""Write what a feed changes into the catalogue, in one Delta commit that is remembered under the feed's id."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.delta.writer import PRODUCTS, WITHDRAWALS, commit_metadata, create_table
from recsim_tasks.catalogue.feeds.classify import STATED
from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

COLUMNS = [field.split()[0] for field in PRODUCTS.split(", ")]


def changed_rows(rows: DataFrame, classified: DataFrame, withdrawn: DataFrame | None) -> DataFrame:
    """What the merge needs: the rows that change a product, with the image where it is another one than before."""
    changed = classified.where("action IN ('insert', 'update', 'delete')").join(
        rows.select("number", "image"), "number"
    )
    # What was only packed anew is no change: the stored image stays, and the row need not carry another.
    changed = changed.selectExpr(
        "action",
        *(name for name in COLUMNS if name != "image"),
        "IF(image_hash <=> t_image_hash, NULL, image) AS image",
    )
    if withdrawn is None:
        return changed
    return changed.unionByName(
        withdrawn.selectExpr("product_id", "'delete' AS action"), allowMissingColumns=True
    )


def merge_products(settings: Settings, feed: Feed, changes: DataFrame, told: dict[str, Any]) -> None:
    """Merge `changes` into the catalogue; `told` goes into the commit beside the feed's id and digest."""
    from delta import DeltaTable

    spark = changes.sparkSession
    updated = {name: f"s.{name}" for name in STATED}
    # A row without a picture leaves the picture as it is, one without a time the time.
    updated |= {name: f"coalesce(s.{name}, t.{name})" for name in ("image", "image_hash", "updated_at")}
    merge = (
        DeltaTable.forPath(spark, settings.products_uri)
        .alias("t")
        .merge(changes.alias("s"), "s.product_id = t.product_id")
        .whenMatchedDelete("s.action = 'delete'")
        .whenMatchedUpdate("s.action = 'update'", updated)
        .whenNotMatchedInsert("s.action = 'insert'", {name: f"s.{name}" for name in COLUMNS})
    )
    with _commit_of(spark, feed, told):
        merge.execute()


def note_applied(settings: Settings, feed: Feed, like: DataFrame, told: dict[str, Any]) -> None:
    """Commit that the feed was applied where it changes nothing: a version without data."""
    with _commit_of(like.sparkSession, feed, told):
        like.select(*COLUMNS).limit(0).write.format("delta").mode("append").save(settings.products_uri)


def note_withdrawals(settings: Settings, feed: Feed, classified: DataFrame) -> None:
    """Remember when products were deleted, so that an older row that comes later does not bring them back; once, however often it is run."""
    from pyspark.sql import functions as f

    dated = classified.where("op = 'delete' AND updated_at IS NOT NULL AND action IN ('delete', 'unchanged')")
    noted = dated.select(
        "product_id", "updated_at", f.lit(feed.feed_id).alias("feed_id"), f.current_timestamp().alias("at")
    )
    if noted.isEmpty():
        return
    with lease(settings.home, settings.withdrawals_uri):
        create_table(noted.sparkSession, settings.withdrawals_uri, WITHDRAWALS)
        noted.write.format("delta").mode("overwrite").option(
            "replaceWhere", f"feed_id = '{feed.feed_id}'"
        ).save(settings.withdrawals_uri)


def _commit_of(spark: SparkSession, feed: Feed, metadata: dict[str, Any]) -> AbstractContextManager[None]:
    """The next commit is the feed's: its id and digest, and what `metadata` adds."""
    named = {"feed_id": feed.feed_id, "digest": feed.digest, **metadata}
    return commit_metadata(spark, feed.application, feed.transaction, named)
