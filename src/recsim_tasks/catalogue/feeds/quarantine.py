"""The quarantine: invalid rows of feeds with the reason, until a valid row for the product releases them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from recsim_tasks.catalogue.delta.reader import open_if_exists, scan
from recsim_tasks.catalogue.delta.writer import create_quarantine
from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.catalogue.feeds.on_hold import feeds_on_hold
from recsim_tasks.catalogue.schema import STATED
from recsim_tasks.contracts import QuarantinedRow, QuarantineResult
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

COPY = f"coalesce(row, to_json(struct(product_id, op, {', '.join(STATED)}, updated_at)))"
VALID = "action IN ('insert', 'update', 'delete', 'unchanged')"
T = TypeVar("T")


class _Owner(NamedTuple):
    """Whose a row is: the feed, or the encoder, that brought it, and the feed that released it."""

    feed_id: str
    product_id: str | None
    released_by: str | None
    released_at: datetime | None


def quarantine_rows(
    settings: Settings, feed: Feed, rows: DataFrame, classified: DataFrame, count: int
) -> None:
    """Quarantine the feed's `count` invalid rows, and release older ones of products with a valid row now.

    `rows` are the validated rows, `classified` has the action of each. Repeating it changes nothing, and it
    replaces what another delivery under the same id left unfinished.
    """
    own = f"feed_id = '{feed.feed_id}' OR released_by = '{feed.feed_id}'"
    with lease(settings.home, settings.quarantine_uri):
        present = _read(settings, _Owner, _Owner._fields, f"released_at IS NULL OR {own}")
        others = [row for row in present if row.feed_id != feed.feed_id]
        if count or any(row.feed_id == feed.feed_id for row in present):
            invalid = _invalid_rows(feed, rows, classified).write.format("delta").mode("overwrite")
            invalid.option("replaceWhere", f"feed_id = '{feed.feed_id}'").save(settings.quarantine_uri)
        _Release(settings, feed, classified).release(others)


def quarantine_products(
    spark: SparkSession, settings: Settings, model: str, reason: str, products: set[str]
) -> None:
    """Quarantine exactly these `products` for an encoder, and release those of other encoders.

    `model` is `model FINGERPRINT`. The rows have no copy of a feed's row.
    """
    from delta import DeltaTable
    from pyspark.sql import functions as f

    unreleased = f"released_at IS NULL AND feed_id LIKE '{model.split()[0]} %'"
    with lease(settings.home, settings.quarantine_uri):
        present = _read(settings, _Owner, _Owner._fields, unreleased)
        known = {row.product_id for row in present if row.feed_id == model}
        new = sorted((product, model, reason) for product in products - known)
        if new:
            create_quarantine(spark, settings)
            rows = spark.createDataFrame(new, "product_id string, feed_id string, reason string")
            rows = rows.withColumn("at", f.current_timestamp())
            rows.write.format("delta").mode("append").save(settings.quarantine_uri)
        if any(row.feed_id != model or row.product_id not in products for row in present):
            models = sorted({row.feed_id for row in present})
            waiting = f.col("released_at").isNull() & f.col("feed_id").isin(models)
            kept = (f.col("feed_id") == model) & f.col("product_id").isin(sorted(products))
            marks = {"released_by": f.lit(model), "released_at": f.current_timestamp()}
            DeltaTable.forPath(spark, settings.quarantine_uri).update(waiting & ~kept, marks)


def quarantined(
    settings: Settings,
    *,
    feed_id: str | None = None,
    product_id: str | None = None,
    include_released: bool = False,
    limit: int = 20,
) -> QuarantineResult:
    """List rows in quarantine: the counts by reason, and the newest `limit` rows.

    Also lists the feeds on hold, of which no row is in quarantine yet.
    """
    where = None if include_released else "released_at IS NULL"
    rows = [
        row
        for row in _read(settings, QuarantinedRow, tuple(QuarantinedRow.model_fields), where)
        if feed_id in (None, row.feed_id) and product_id in (None, row.product_id)
    ]
    rows.sort(key=lambda row: (row.at, row.product_id or ""), reverse=True)
    return QuarantineResult(
        rows=len(rows),
        by_reason=dict(Counter(str(row.reason) for row in rows).most_common()),
        newest=rows[:limit],
        on_hold=feeds_on_hold(settings, feed_id) if product_id is None else [],
    )


@dataclass(frozen=True)
class _Release:
    """Releases rows of other feeds, in the name of `feed`, whose rows are `classified`."""

    settings: Settings
    feed: Feed
    classified: DataFrame

    def release(self, others: list[_Owner]) -> None:
        """Mark those of `others` whose product has a valid row now; remove marks of an unfinished try."""
        from pyspark.sql import functions as f

        owned = [(row, row.product_id) for row in others if row.product_id is not None]
        waiting = {product for row, product in owned if row.released_at is None}
        marked = {product for row, product in owned if row.released_by == self.feed.feed_id}
        valid = self._valid(waiting | marked)
        marks = {"released_by": f.lit(self.feed.feed_id), "released_at": f.current_timestamp()}
        no_marks = {"released_by": f.lit(None), "released_at": f.lit(None)}
        self._update(waiting & valid, "t.released_at IS NULL", marks)
        self._update(marked - valid, f"t.released_by = '{self.feed.feed_id}'", no_marks)

    def _valid(self, products: set[str]) -> set[str]:
        """Those of `products` for which the feed has a valid row."""
        if not products:
            return set()
        rows = self.classified.where(VALID).join(self._ids(products), "product_id", "left_semi")
        return {row[0] for row in rows.select("product_id").distinct().collect()}

    def _update(self, products: set[str], where: str, values: dict[str, Column]) -> None:
        from delta import DeltaTable

        if not products:
            return
        table = DeltaTable.forPath(self.classified.sparkSession, self.settings.quarantine_uri).alias("t")
        matches = f"t.product_id = s.product_id AND t.feed_id <> '{self.feed.feed_id}' AND {where}"
        table.merge(self._ids(products).alias("s"), matches).whenMatchedUpdate(set=values).execute()

    def _ids(self, products: set[str]) -> DataFrame:
        from pyspark.sql import functions as f

        rows = [(product,) for product in sorted(products)]
        return f.broadcast(self.classified.sparkSession.createDataFrame(rows, "product_id string"))


def _read(settings: Settings, make: Callable[..., T], columns: Sequence[str], where: str | None) -> list[T]:
    """Make an object of each row that matches `where`; none if there is no quarantine yet."""
    table = open_if_exists(settings.quarantine_uri)
    return [] if table is None else [make(**row) for row in scan(table, columns, where).to_pylist()]


def _invalid_rows(feed: Feed, rows: DataFrame, classified: DataFrame) -> DataFrame:
    """Return the feed's invalid rows.

    Those for whose product the feed also has a valid row are released at once.
    """
    from pyspark.sql import functions as f

    reasons = classified.where("action = 'quarantine'").select("number", f.col("reason").alias("why"))
    valid = classified.where(VALID).select("product_id", f.lit(feed.feed_id).alias("released_by")).distinct()
    now = f.current_timestamp()
    return (
        rows.join(reasons, "number")
        .join(valid, "product_id", "left")
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
