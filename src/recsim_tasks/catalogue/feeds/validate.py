"""Validate a feed's rows on Spark: decode each image once, give every row its fields or a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.feeds.rows import TEXT_COLUMNS, Cells, image_bytes, parse_row
from recsim_tasks.catalogue.row_errors import reason_of
from recsim_tasks.catalogue.schema import PRODUCT_TYPES, ColumnType, Value, arrow_schema, spark_ddl
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.logging import configure
from recsim_tasks.foundation.outages import outage_behind
from recsim_tasks.foundation.redaction import redacted

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

TYPES: dict[str, ColumnType] = {
    "number": "bigint",
    "op": "string",
    **PRODUCT_TYPES,
    "reason": "string",
    "row": "string",
}
SCHEMA = spark_ddl(TYPES)
# Leaves 40 bits for the rows of a partition.
PARTITION_BITS = 40

Row = dict[str, Value]
"""A row of `SCHEMA`."""


def validate_rows(raw: DataFrame, folder: Path, max_pixels: int) -> DataFrame:
    """Turn rows of `RAW_SCHEMA` into rows of `SCHEMA`.

    A row is valid if `reason` is null. Otherwise `row` has its cells in JSON and `image` the bytes as
    delivered. `number` identifies a row within the feed and is the same whenever the feed is read.
    """

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        configure()  # a Spark worker is a process of its own
        context = TaskContext.get()
        number = count(0 if context is None else context.partitionId() << PARTITION_BITS)
        for batch in batches:
            yield _batch(
                [
                    {"number": next(number), **_validate(record, record["image"], folder, max_pixels)}
                    for record in batch.to_pylist()
                ]
            )

    return raw.mapInArrow(run, SCHEMA)


def _batch(rows: list[Row]) -> pa.RecordBatch:
    import pyarrow as pa

    schema = arrow_schema(TYPES)

    def storable(row: Row) -> Row:
        try:
            pa.RecordBatch.from_pylist([row], schema=schema)
        except Exception as error:
            cells = {name: value for name, value in row.items() if name != "image"}
            return {
                "number": row["number"],
                "reason": f"the row cannot be stored: {reason_of(error)}",
                "row": json.dumps(cells, default=repr),
            }
        return row

    try:
        return pa.RecordBatch.from_pylist(rows, schema=schema)
    except Exception:  # a value does not fit its Arrow type
        return pa.RecordBatch.from_pylist([storable(row) for row in rows], schema=schema)


def _validate(record: Cells, image: bytes | None, folder: Path, max_pixels: int) -> Row:
    cells: Cells = {name: record[name] for name in TEXT_COLUMNS}
    try:
        if record["fault"]:
            raise InputError(record["fault"])
        image = image_bytes(cells, image, folder)
        return parse_row(cells, image, max_pixels).columns | {"reason": None, "row": None}
    except Exception as error:  # one row must not stop the others, whatever it does to our code or a library
        if outage := outage_behind(error, str(folder)):
            raise outage from error  # the machine's fault, not the row's
        is_known = isinstance(error, InputError)
        reason = str(error) if is_known else f"the row cannot be validated: {reason_of(error)}"
    # The base64 text of a readable image is not stored a second time.
    kept = {
        name: value
        for name, value in cells.items()
        if value is not None and not (name == "image_base64" and image)
    }
    copy = redacted(record["copy"] or json.dumps(kept))  # the URL of an image may contain credentials
    return {"product_id": cells["product_id"], "image": image, "reason": redacted(reason), "row": copy}
