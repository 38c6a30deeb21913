"""What each row of a feed does to the catalogue, decided before anything is written and without reading an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.constraints import constraints
from recsim_tasks.catalogue.delta.writer import PRODUCTS, WITHDRAWALS, read_or_empty
from recsim_tasks.catalogue.feeds.guards import Done, Tally
from recsim_tasks.foundation.errors import ConfigurationError
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

STATED = ("title", "category", "price", "in_stock")
# What a row says of its product, all in all.
SAID = ("op", *STATED, "updated_at", "image_hash")
# What a row that is silent about it leaves as it is.
KEPT = ("updated_at", "image_hash")
# The ids of a feed of so few rows are sent to all tasks, so that the catalogue is not shuffled to meet them.
SMALL_FEED = 200_000
# What a row does, by the first condition that it meets. `t_` is the product as it is, `w_` its withdrawal, `latest` the feed's last word on it.
ACTION = """
CASE
  WHEN reason IS NOT NULL THEN 'quarantine'
  WHEN NOT updated_at <=> latest THEN 'outdated'
  WHEN updated_at < IF(there, t_updated_at, w_updated_at) THEN 'outdated'
  WHEN op = 'delete' THEN IF(there, 'delete', 'unchanged')
  WHEN NOT there THEN 'insert'
  WHEN {same} THEN 'unchanged'
  ELSE 'update'
END
"""
# What becomes of the row in the end: of rows that say the same, one changes the product.
OUTCOME = """
CASE
  WHEN reason IS NOT NULL THEN 'quarantine'
  WHEN repeats AND action IN ('insert', 'update', 'delete') THEN 'unchanged'
  ELSE action
END
"""
SAME = " AND ".join(
    [*(f"{name} <=> t_{name}" for name in STATED), "(image_hash IS NULL OR image_hash <=> t_image_hash)"]
)


def classify(rows: DataFrame, settings: Settings, count: int) -> DataFrame:
    """The `count` examined rows, without what is only written, with the `action` of each and the product as it is (`t_...`).

    `insert`, `update` and `delete` change it; `unchanged`, `outdated` (the catalogue, or the feed itself, knows better) and `quarantine` do not.
    """
    rows = rows.drop("image", "row")
    rows = _reject_placeholders(rows, settings.placeholder_products)
    rows = _reject_ties(rows)
    rows = _beside_what_is_there(rows, settings, count)
    rows = rows.withColumn("action", _expression(ACTION.format(same=SAME)))
    no_image = "action = 'insert' AND image_hash IS NULL"
    rows = _reject(rows, no_image, "'the product is new and the row has no image'")
    rows = _reject_violations(rows, settings.products_uri)
    return rows.withColumn("action", _expression(OUTCOME)).drop("repeats")


def withdrawals(rows: DataFrame, settings: Settings) -> DataFrame:
    """`product_id` and `t_category` of the products that no row names, however it ended: a product whose row is bad is not withdrawn."""
    products = read_or_empty(rows.sparkSession, settings.products_uri, PRODUCTS).selectExpr(
        "product_id", "category AS t_category"
    )
    return products.join(rows.where("product_id IS NOT NULL").select("product_id"), "product_id", "left_anti")


def tally(classified: DataFrame, withdrawn: DataFrame | None, settings: Settings) -> Tally:
    """Count what the feed would do. Spark counts; the driver gets one line for each action and pair of categories."""
    counted = classified.groupBy("action", "t_category", "category").count()
    if withdrawn is not None:
        gone = withdrawn.groupBy("t_category").count()
        counted = counted.unionByName(
            gone.selectExpr("'withdraw' AS action", "t_category", "CAST(NULL AS string) AS category", "count")
        )
    products = (
        read_or_empty(classified.sparkSession, settings.products_uri, PRODUCTS).groupBy("category").count()
    )
    return Tally(
        [Done(*line) for line in counted.collect()], {line[0]: line[1] for line in products.collect()}
    )


def _reject_placeholders(rows: DataFrame, most: int) -> DataFrame:
    """One picture cannot show many products: a shop's "no picture yet" goes from product to product."""
    from pyspark.sql import functions as f

    shown = rows.where("reason IS NULL AND image_hash IS NOT NULL").groupBy("image_hash")
    everywhere = f.broadcast(
        shown.agg(f.countDistinct("product_id").alias("shown_for")).where(f.col("shown_for") > most)
    )
    reason = f"concat('the image is a placeholder: this feed gives it to ', shown_for, ' products; RECSIM_PLACEHOLDER_PRODUCTS allows {most}')"
    return _reject(rows.join(everywhere, "image_hash", "left"), "shown_for IS NOT NULL", reason).drop(
        "shown_for"
    )


def _reject_ties(rows: DataFrame) -> DataFrame:
    """Of several rows for a product the `latest` counts; where two claim to be that, and do not say the same, none does.

    Of rows that say the same the first counts, and the others are repeats.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    # One exchange by product serves both windows and the joins that follow.
    rows = rows.repartition("product_id")
    stated = Window.partitionBy("product_id", f.col("reason").isNull())
    rows = rows.withColumn("latest", f.max("updated_at").over(stated))
    same = Window.partitionBy("product_id", f.col("reason").isNull(), *SAID).orderBy("number")
    rows = rows.withColumn("repeats", (f.row_number().over(same) > 1) & f.col("reason").isNull())
    rows = rows.withColumn(
        "ties", f.sum(_expression("CAST(updated_at <=> latest AND NOT repeats AS int)")).over(stated)
    )
    tied = "ties > 1 AND updated_at <=> latest"  # a repeat of a row that contradicts another does so as well
    return _reject(rows, tied, "'the feed states this product several times with the same updated_at'").drop(
        "ties"
    )


def _reject_violations(rows: DataFrame, uri: str) -> DataFrame:
    """What another writer demands of the catalogue's rows is looked at before the merge, which would end at the first row without it."""
    from pyspark.errors import AnalysisException
    from pyspark.sql import functions as f

    demanded = constraints(uri)
    if not demanded:
        return rows
    # As the row will stand in the catalogue: one without a time or an image leaves what is there.
    as_it_will_be = {name: f.coalesce(name, f"t_{name}") for name in KEPT}
    result = rows.withColumns({f"s_{name}": f.col(name) for name in KEPT}).withColumns(as_it_will_be)
    for constraint in demanded:
        violated = f"action IN ('insert', 'update') AND NOT coalesce({constraint.condition}, false)"
        reason = f.concat(
            f.lit(f"the catalogue's {constraint.name} does not hold for the row: "),
            f.lit(constraint.condition),
        )
        try:
            wrong = f.col("reason").isNull() & _expression(violated)
            result = result.withColumn("reason", f.when(wrong, reason).otherwise(f.col("reason")))
        except AnalysisException as error:
            raise ConfigurationError(
                f"Nothing is written. The {constraint.name} of the catalogue at {uri} cannot be looked at for the rows of a feed "
                f"({constraint.condition}). Drop it there: ALTER TABLE delta.`{uri}` DROP CONSTRAINT ..."
            ) from error
    return result.withColumns({name: f.col(f"s_{name}") for name in KEPT}).drop(
        *(f"s_{name}" for name in KEPT)
    )


def _beside_what_is_there(rows: DataFrame, settings: Settings, count: int) -> DataFrame:
    from pyspark.sql import functions as f

    def sent_to_all(frame: DataFrame) -> DataFrame:
        return f.broadcast(frame) if count <= SMALL_FEED else frame

    ids = sent_to_all(rows.select("product_id"))
    columns = [
        "product_id",
        "true AS there",
        *(f"{name} AS t_{name}" for name in (*STATED, "updated_at", "image_hash")),
    ]
    products = (
        read_or_empty(rows.sparkSession, settings.products_uri, PRODUCTS)
        .selectExpr(*columns)
        .join(ids, "product_id", "left_semi")
    )
    withdrawn = read_or_empty(rows.sparkSession, settings.withdrawals_uri, WITHDRAWALS).join(
        ids, "product_id", "left_semi"
    )
    latest = withdrawn.groupBy("product_id").agg(f.max("updated_at").alias("w_updated_at"))
    rows = rows.join(sent_to_all(products), "product_id", "left").join(latest, "product_id", "left")
    return rows.withColumn("there", f.coalesce("there", f.lit(False)))


def _reject(rows: DataFrame, where: str, reason: str) -> DataFrame:
    """Give the rows that were taken so far and meet `where` the `reason` (an expression) why they are not."""
    return rows.withColumn("reason", _expression(f"IF(reason IS NULL AND ({where}), {reason}, reason)"))


def _expression(text: str) -> Column:
    from pyspark.sql import functions as f

    return f.expr(text)
