"""A catalogue that Spark changes as an ingest does, in one commit, with deletion vectors and change feed."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from PIL import Image
from pyspark.sql import SparkSession

from recsim_demo.feeds import png
from recsim_tasks.arrays import UInt8Array
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.delta.writer import PRODUCTS, create_tables
from recsim_tasks.catalogue.images.decode import image_hash
from recsim_tasks.catalogue.schema import PRODUCT_TYPES
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings

COLUMNS = list(PRODUCT_TYPES)


def product(name: str, pixels: UInt8Array, category: str = "c", price: float = 1.0) -> tuple[Any, ...]:
    """One row of the catalogue."""
    image = png(pixels)
    return (
        name,
        f"title {name}",
        category,
        price,
        True,
        datetime.now(UTC),
        image,
        image_hash(Image.open(io.BytesIO(image))),
    )


def change(
    settings: Settings,
    products: Mapping[str, UInt8Array],
    deleted: list[str] | None = None,
    price: float = 1.0,
) -> Cursor:
    """Insert or update these products by their images, delete others; returns the new head."""
    from delta import DeltaTable

    spark = SparkSession.getActiveSession()
    assert spark is not None
    create_tables(spark, settings)
    rows = [(*product(name, pixels, price=price), False) for name, pixels in products.items()]
    rows += [(name, *[None] * (len(COLUMNS) - 1), True) for name in deleted or []]
    source = spark.createDataFrame(rows, f"{PRODUCTS}, deleted boolean").coalesce(1)
    merging = (
        DeltaTable.forPath(spark, settings.products_uri)
        .alias("t")
        .merge(source.alias("s"), "t.product_id = s.product_id")
    )
    fields = {name: f"s.{name}" for name in COLUMNS}
    merging.whenMatchedDelete("s.deleted").whenMatchedUpdate(set=fields).whenNotMatchedInsert(
        "NOT s.deleted", fields
    ).execute()
    cursor = head(settings.products_uri)
    assert cursor is not None
    return cursor
