"""Read a feed's rows with Spark into text columns and image bytes, from Parquet, CSV or JSON Lines."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.feeds.columns import FEED_COLUMNS, check_names, check_parquet_types
from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.catalogue.feeds.rows import NOT_TEXT, RAW_SCHEMA, TEXT_COLUMNS, raw_batch
from recsim_tasks.catalogue.row_errors import reason_of
from recsim_tasks.foundation.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession

CORRUPT = "_corrupt_record"
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# Spark has no type for the nanoseconds that pandas writes and reads them as integers; INT96 it reads as
# timestamps.
NANOSECONDS_AS_NUMBERS = "spark.sql.legacy.parquet.nanosAsLong"


def read_rows(spark: SparkSession, feed: Feed) -> DataFrame:
    """Return the feed's rows in `RAW_SCHEMA`, lazily; `InputError` if the file has an unknown column or type.

    A line that cannot be read becomes a row with the reason in `fault` and the line in `copy`.
    """
    readers = {"parquet": _read_parquet, "csv": _read_csv, "jsonl": _read_jsonl}
    return readers[feed.format](spark, feed)


def _read_parquet(spark: SparkSession, feed: Feed) -> DataFrame:
    from pyspark.sql import functions as f

    check_parquet_types(feed.source)
    spark.conf.set(NANOSECONDS_AS_NUMBERS, "true")
    frame = spark.read.parquet(feed.spark_path)
    if dict(frame.dtypes).get("updated_at") == "bigint":
        frame = frame.withColumn("updated_at", f.timestamp_micros(f.expr("updated_at div 1000")))
    return _to_raw_schema(frame)


def _read_csv(spark: SparkSession, feed: Feed) -> DataFrame:
    """Read CSV (RFC 4180) in UTF-8 with a header.

    Values may contain line breaks, so one task reads the whole file.
    """
    from pyspark.sql import functions as f

    header = _csv_header(feed.source)
    check_names(feed.source, header)
    schema = ", ".join(f"`{name}` string" for name in [*header, CORRUPT])
    frame = spark.read.csv(
        feed.spark_path,
        schema=schema,
        header=True,
        multiLine=True,
        quote='"',
        escape='"',
        mode="PERMISSIVE",
        columnNameOfCorruptRecord=CORRUPT,
    ).repartition(spark.sparkContext.defaultParallelism)
    rows = _to_raw_schema(frame.withColumnRenamed("image", "image_base64"))
    fault = f.when(f.col("copy").isNotNull(), f.lit("the line has not as many cells as the header"))
    return rows.withColumn("fault", fault)


def _read_jsonl(spark: SparkSession, feed: Feed) -> DataFrame:
    from pyspark.sql import functions as f

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield raw_batch([_line(text) for text in batch.column("value").to_pylist() if text.strip()])

    lines = spark.read.text(feed.spark_path).select(f.make_valid_utf8("value").alias("value"))
    return lines.mapInArrow(read, RAW_SCHEMA)


def _line(text: str) -> dict[str, str | None]:
    try:
        return _json_row(text)
    except Exception as error:  # one line must not stop the others
        return {"fault": f"the line cannot be read: {reason_of(error)}", "copy": text}


def _json_row(line: str) -> dict[str, str | None]:
    try:
        record = json.loads(line.removeprefix("\ufeff"), parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        return {"fault": f"the line is not JSON: {error}", "copy": line}
    if not isinstance(record, dict):
        return {"fault": "the line is not a JSON object", "copy": line}
    product_id = record["product_id"] if isinstance(record.get("product_id"), str) else None
    if "\\u" in line and LONE_SURROGATE.search(json.dumps(record, ensure_ascii=False)):
        return {"fault": "the line contains an escaped lone surrogate", "copy": line}
    if unknown := sorted(record.keys() - set(FEED_COLUMNS)):
        return {"product_id": product_id, "fault": f"unknown column {', '.join(unknown)}", "copy": line}
    if nested := sorted(name for name, value in record.items() if isinstance(value, dict | list)):
        return {
            "product_id": product_id,
            "fault": f"{', '.join(nested)} has more than one value",
            "copy": line,
        }
    cells = {name: str(value).lower() if isinstance(value, bool) else value for name, value in record.items()}
    return {("image_base64" if name == "image" else name): value for name, value in cells.items()}


def _to_raw_schema(frame: DataFrame) -> DataFrame:
    from pyspark.sql import functions as f

    def column(name: str, kind: str) -> Column:
        return (f.col(name) if name in frame.columns else f.lit(None)).cast(kind)

    # Spark passes invalid UTF-8 through; Arrow and Python would fail on it.
    text = [f.make_valid_utf8(column(name, "string")).alias(name) for name in TEXT_COLUMNS]
    copy = column(CORRUPT, "string").alias("copy")
    return frame.select(
        *text, f.lit(None).cast("string").alias("fault"), copy, column("image", "binary").alias("image")
    )


def _csv_header(source: Path) -> list[str]:
    # Reading ahead decodes rows, too: their invalid bytes are not the header's fault.
    with source.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        lines = csv.reader(iter(partial(file.readline, 1 << 16), ""))
        try:
            names = next(lines, [])
        except csv.Error:
            names = None
    if names is None or NOT_TEXT.search("".join(names)):
        raise InputError(
            f"{source} has no readable header. Deliver it in UTF-8, with the names of its columns in the "
            "first line."
        )
    return names
