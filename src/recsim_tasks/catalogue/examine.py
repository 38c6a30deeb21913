"""Examine a feed's rows on Spark: decode every picture once, give each row its fields or the reason why not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.feed import Feed
from recsim_tasks.catalogue.rows import TEXT_COLUMNS, take
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

FIELDS = "product_id string, op string, title string, category string, price double, in_stock boolean, updated_at timestamp, image binary, image_hash string"
SCHEMA = f"{FIELDS}, reason string, row string"
NAMES = [field.split()[0] for field in SCHEMA.split(", ")]


def examine(raw: DataFrame, settings: Settings, feed: Feed) -> DataFrame:
    """Rows of `SCHEMA`: taken where `reason` is null; else `row` is a copy of the text columns and `image` what was delivered."""
    folder, max_pixels = feed.folder, settings.image_max_pixels

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield _batch([_row(record, folder, max_pixels) for record in batch.to_pylist()])

    return _one_row_a_product(_known_when_without_image(raw.mapInArrow(run, SCHEMA), settings))


def _batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    import pyarrow as pa

    types = {
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
        "binary": pa.binary(),
        "string": pa.string(),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in (field.split() for field in SCHEMA.split(", "))])
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def _row(record: dict[str, Any], folder: Path, max_pixels: int) -> dict[str, Any]:
    text = {name: record[name] for name in TEXT_COLUMNS}
    image = record["image"]
    try:
        return vars(take(text, image, folder, max_pixels)) | {"reason": None, "row": None}
    except InputError as error:
        copy = {name: value for name, value in text.items() if value is not None and name != "image_base64"}
        return {"product_id": text["product_id"], "image": image, "reason": str(error), "row": json.dumps(copy)}


def _known_when_without_image(rows: DataFrame, settings: Settings) -> DataFrame:
    """A row without a picture can only change a product that has one."""
    from pyspark.sql import functions as f

    products = rows.sparkSession.read.format("delta").load(settings.products_uri).select("product_id", f.lit(True).alias("known"))
    lacks = f.col("reason").isNull() & (f.col("op") == "upsert") & f.col("image_hash").isNull() & f.col("known").isNull()
    joined = rows.join(products, "product_id", "left")
    return _reject(joined, lacks, "the product is new and the row has no image").drop("known")


def _one_row_a_product(rows: DataFrame) -> DataFrame:
    """Of several rows for a product the latest `updated_at` counts; on a tie none does."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    good = f.col("reason").isNull()
    latest = Window.partitionBy("product_id", good)
    ranked = rows.withColumn("latest", f.max("updated_at").over(latest)).withColumn("stated", f.count("*").over(latest))
    is_latest = f.col("updated_at").eqNullSafe(f.col("latest"))
    ranked = ranked.withColumn("is_latest", is_latest).withColumn("ties", f.sum(is_latest.cast("int")).over(latest))
    several = good & (f.col("stated") > 1)
    ranked = _reject(ranked, several & ~f.col("is_latest"), "a later row of the same feed states this product")
    tied = several & f.col("is_latest") & (f.col("ties") > 1)
    return _reject(ranked, tied, "the feed states this product several times with the same updated_at").select(*NAMES)


def _reject(rows: DataFrame, where: Any, reason: str) -> DataFrame:
    """Put the taken rows that meet `where` aside, with a copy of what they said."""
    from pyspark.sql import functions as f

    copy = f.to_json(f.struct("product_id", "op", "title", "category", "price", "in_stock", "updated_at"))
    rows = rows.withColumn("rejected", where)
    rows = rows.withColumn("row", f.when(f.col("rejected"), copy).otherwise(f.col("row")))
    return rows.withColumn("reason", f.when(f.col("rejected"), f.lit(reason)).otherwise(f.col("reason"))).drop("rejected")
