"""Examine a feed's rows on Spark: decode every picture once, give each row its fields or the reason why not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.feeds.rows import TEXT_COLUMNS, picture_of, take
from recsim_tasks.catalogue.row_errors import reason_of
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.logging import configure
from recsim_tasks.foundation.outages import outage_behind
from recsim_tasks.foundation.redaction import redacted

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

FIELDS = "product_id string, op string, title string, category string, price double, in_stock boolean, updated_at timestamp, image binary, image_hash string"
SCHEMA = f"number bigint, {FIELDS}, reason string, row string"
# Rows of one partition, of which there are far fewer than 2 ** 23.
PARTITION_BITS = 40


def examine(raw: DataFrame, folder: Path, max_pixels: int) -> DataFrame:
    """Rows of `SCHEMA`: taken where `reason` is null; else `row` is a copy of the cells as JSON and `image` what was delivered.

    `number` tells the rows of one feed apart and is the same whenever the feed is read.
    """

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        configure()  # a Spark worker is a process of its own
        context = TaskContext.get()
        number = count(0 if context is None else context.partitionId() << PARTITION_BITS)
        for batch in batches:
            yield _batch(
                [{"number": next(number), **_row(record, folder, max_pixels)} for record in batch.to_pylist()]
            )

    return raw.mapInArrow(run, SCHEMA)


def _batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    import pyarrow as pa

    types = {
        "bigint": pa.int64(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
        "binary": pa.binary(),
        "string": pa.string(),
    }
    schema = pa.schema(
        [(name, types[kind]) for name, kind in (field.split() for field in SCHEMA.split(", "))]
    )

    def fitting(row: dict[str, Any]) -> dict[str, Any]:
        try:
            pa.RecordBatch.from_pylist([row], schema=schema)
        except Exception as error:
            copy = json.dumps({name: value for name, value in row.items() if name != "image"}, default=repr)
            return {
                "number": row["number"],
                "reason": f"the row cannot be kept: {reason_of(error)}",
                "row": copy,
            }
        return row

    try:
        return pa.RecordBatch.from_pylist(rows, schema=schema)
    except Exception:  # one of them holds what Arrow has no type for
        return pa.RecordBatch.from_pylist([fitting(row) for row in rows], schema=schema)


def _row(record: dict[str, Any], folder: Path, max_pixels: int) -> dict[str, Any]:
    text = {name: record[name] for name in TEXT_COLUMNS}
    image = record["image"]
    try:
        if record["fault"]:
            raise InputError(record["fault"])
        image = picture_of(text, image, folder)
        return vars(take(text, image, max_pixels)) | {"reason": None, "row": None}
    except Exception as error:  # whatever one row does to our code or to a library, the others are taken
        if outage := outage_behind(error, str(folder)):
            raise outage from error  # of the machine, not of the row
        reason = (
            str(error) if isinstance(error, InputError) else f"the row cannot be examined: {reason_of(error)}"
        )
    # The base64 of an image that could be read is not kept twice.
    cells = {
        name: value
        for name, value in text.items()
        if value is not None and not (name == "image_base64" and image)
    }
    kept = redacted(record["copy"] or json.dumps(cells))  # an image's address may carry credentials
    return {"product_id": text["product_id"], "image": image, "reason": redacted(reason), "row": kept}
