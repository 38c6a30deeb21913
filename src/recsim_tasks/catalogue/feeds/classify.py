"""Decide what each row of a feed does to the catalogue, before anything is written. Reads no image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.constraints import read_constraints
from recsim_tasks.catalogue.delta.writer import PRODUCTS, WITHDRAWALS, read_or_empty
from recsim_tasks.catalogue.feeds.guards import ActionCount, FeedEffect
from recsim_tasks.catalogue.schema import KEPT, STATED
from recsim_tasks.foundation.errors import ConfigurationError
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# The kept fields that are compared: images are compared by their hashes.
KEPT_COMPARED = tuple(name for name in KEPT if name != "image")
# What a row states about its product. Rows that agree in all of it are repeats.
CONTENT = ("op", *STATED, *KEPT_COMPARED)
# The ids of a feed with at most this many rows are broadcast, so that the catalogue is not shuffled for the
# join.
MAX_BROADCAST_ROWS = 200_000
# The action of a row is the first that applies. `t_` is the product in the catalogue, `w_` its last
# withdrawal, `latest` the newest time that the feed states for it.
ACTION = """
CASE
  WHEN reason IS NOT NULL THEN 'quarantine'
  WHEN NOT updated_at <=> latest THEN 'outdated'
  WHEN updated_at < IF(is_known, t_updated_at, w_updated_at) THEN 'outdated'
  WHEN op = 'delete' THEN IF(is_known, 'delete', 'unchanged')
  WHEN NOT is_known THEN 'insert'
  WHEN {same} THEN 'unchanged'
  ELSE 'update'
END
"""
# Of rows that repeat each other only the first changes the product.
FINAL_ACTION = """
CASE
  WHEN reason IS NOT NULL THEN 'quarantine'
  WHEN is_repeat AND action IN ('insert', 'update', 'delete') THEN 'unchanged'
  ELSE action
END
"""
SAME = " AND ".join(
    [*(f"{name} <=> t_{name}" for name in STATED), "(image_hash IS NULL OR image_hash <=> t_image_hash)"]
)


def classify(rows: DataFrame, settings: Settings, count: int) -> DataFrame:
    """Add to the `count` validated rows the `action` of each, and the catalogue's product (`t_...`).

    `insert`, `update` and `delete` change the catalogue. `unchanged`, `outdated` (the catalogue or the feed
    has a newer row) and `quarantine` do not. The columns `image` and `row` are left out.
    """
    rows = rows.drop("image", "row")
    rows = _reject_placeholders(rows, settings.placeholder_products)
    rows = _reject_contradictions(rows)
    rows = _join_catalogue(rows, settings, count)
    rows = rows.withColumn("action", _expression(ACTION.format(same=SAME)))
    no_image = "action = 'insert' AND image_hash IS NULL"
    rows = _reject(rows, no_image, "'the product is new and the row has no image'")
    rows = _reject_violations(rows, settings.products_uri)
    return rows.withColumn("action", _expression(FINAL_ACTION)).drop("is_repeat")


def withdrawn_products(rows: DataFrame, settings: Settings) -> DataFrame:
    """`product_id` and `t_category` of the products that a full feed does not name.

    An invalid row names its product, too.
    """
    products = read_or_empty(rows.sparkSession, settings.products_uri, PRODUCTS).selectExpr(
        "product_id", "category AS t_category"
    )
    named = rows.where("product_id IS NOT NULL").select("product_id")
    return products.join(named, "product_id", "left_anti")


def feed_effect(classified: DataFrame, withdrawn: DataFrame | None, settings: Settings) -> FeedEffect:
    """Count what the feed would do.

    Spark counts; the driver gets one row for each action and pair of categories.
    """
    counted = classified.groupBy("action", "t_category", "category").count()
    if withdrawn is not None:
        by_category = withdrawn.groupBy("t_category").count()
        counted = counted.unionByName(
            by_category.selectExpr(
                "'withdraw' AS action", "t_category", "CAST(NULL AS string) AS category", "count"
            )
        )
    products = read_or_empty(classified.sparkSession, settings.products_uri, PRODUCTS)
    by_category = products.groupBy("category").count()
    return FeedEffect(
        actions=[ActionCount(*row) for row in counted.collect()],
        products={row[0]: row[1] for row in by_category.collect()},
    )


def _reject_placeholders(rows: DataFrame, max_products: int) -> DataFrame:
    """Reject an image that many products of the feed share: a shop's "no image yet"."""
    from pyspark.sql import functions as f

    by_image = rows.where("reason IS NULL AND image_hash IS NOT NULL").groupBy("image_hash")
    products = by_image.agg(f.countDistinct("product_id").alias("image_products"))
    shared = f.broadcast(products.where(f.col("image_products") > max_products))
    reason = (
        "concat('the image is a placeholder: this feed gives it to ', image_products, ' products; "
        f"RECSIM_PLACEHOLDER_PRODUCTS allows {max_products}')"
    )
    rows = rows.join(shared, "image_hash", "left")
    return _reject(rows, "image_products IS NOT NULL", reason).drop("image_products")


def _reject_contradictions(rows: DataFrame) -> DataFrame:
    """Reject the `latest` rows of a product if they contradict each other; mark repeats of a row.

    Of several rows for a product the latest counts. Of rows that agree the first counts, and the others are
    repeats.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    # One exchange by product serves both windows and the joins that follow.
    rows = rows.repartition("product_id")
    by_product = Window.partitionBy("product_id", f.col("reason").isNull())
    rows = rows.withColumn("latest", f.max("updated_at").over(by_product))
    by_content = Window.partitionBy("product_id", f.col("reason").isNull(), *CONTENT).orderBy("number")
    rows = rows.withColumn("is_repeat", (f.row_number().over(by_content) > 1) & f.col("reason").isNull())
    is_latest = _expression("CAST(updated_at <=> latest AND NOT is_repeat AS int)")
    rows = rows.withColumn("latest_rows", f.sum(is_latest).over(by_product))
    contradicts = "latest_rows > 1 AND updated_at <=> latest"  # also true for the repeats of such a row
    reason = "'the feed has several different rows for this product with the same updated_at'"
    return _reject(rows, contradicts, reason).drop("latest_rows")


def _reject_violations(rows: DataFrame, uri: str) -> DataFrame:
    """Reject rows that violate a constraint of another writer.

    The merge itself would fail as a whole at the first of them.
    """
    from pyspark.errors import AnalysisException
    from pyspark.sql import functions as f

    constraints = read_constraints(uri)
    if not constraints:
        return rows
    # Constraints see a row as it will be in the catalogue, with the kept fields that it does not state.
    merged = {name: f.coalesce(name, f"t_{name}") for name in KEPT_COMPARED}
    result = rows.withColumns({f"s_{name}": f.col(name) for name in KEPT_COMPARED}).withColumns(merged)
    for constraint in constraints:
        violated = f"action IN ('insert', 'update') AND NOT coalesce({constraint.condition}, false)"
        reason = f.concat(
            f.lit(f"the row violates the catalogue's {constraint.name}: "), f.lit(constraint.condition)
        )
        try:
            violates = f.col("reason").isNull() & _expression(violated)
            result = result.withColumn("reason", f.when(violates, reason).otherwise(f.col("reason")))
        except AnalysisException as error:
            raise ConfigurationError(
                f"Nothing was written. The {constraint.name} of the catalogue at {uri} cannot be checked for "
                f"rows of a feed ({constraint.condition}). Run: ALTER TABLE delta.`{uri}` DROP CONSTRAINT ..."
            ) from error
    stated = {name: f.col(f"s_{name}") for name in KEPT_COMPARED}
    return result.withColumns(stated).drop(*(f"s_{name}" for name in KEPT_COMPARED))


def _join_catalogue(rows: DataFrame, settings: Settings, count: int) -> DataFrame:
    from pyspark.sql import functions as f

    def broadcast_small(frame: DataFrame) -> DataFrame:
        return f.broadcast(frame) if count <= MAX_BROADCAST_ROWS else frame

    ids = broadcast_small(rows.select("product_id"))
    compared = [f"{name} AS t_{name}" for name in (*STATED, *KEPT_COMPARED)]
    products = (
        read_or_empty(rows.sparkSession, settings.products_uri, PRODUCTS)
        .selectExpr("product_id", "true AS is_known", *compared)
        .join(ids, "product_id", "left_semi")
    )
    withdrawals = read_or_empty(rows.sparkSession, settings.withdrawals_uri, WITHDRAWALS).join(
        ids, "product_id", "left_semi"
    )
    latest = withdrawals.groupBy("product_id").agg(f.max("updated_at").alias("w_updated_at"))
    rows = rows.join(broadcast_small(products), "product_id", "left").join(latest, "product_id", "left")
    return rows.withColumn("is_known", f.coalesce("is_known", f.lit(False)))


def _reject(rows: DataFrame, where: str, reason: str) -> DataFrame:
    """Set the `reason` (a SQL expression) of rows that were valid so far and meet `where`."""
    return rows.withColumn("reason", _expression(f"IF(reason IS NULL AND ({where}), {reason}, reason)"))


def _expression(text: str) -> Column:
    from pyspark.sql import functions as f

    return f.expr(text)
