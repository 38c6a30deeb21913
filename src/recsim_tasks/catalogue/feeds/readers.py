"""Read a feed's rows through Spark, whatever the format, to text columns and the image's bytes."""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.catalogue.feeds.idx import read_idx_rows
from recsim_tasks.catalogue.feeds.rows import NO_TEXT, RAW_SCHEMA, TEXT_COLUMNS, raw_batch
from recsim_tasks.catalogue.row_errors import reason_of
from recsim_tasks.foundation.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

FEED_COLUMNS = (
    "product_id",
    "op",
    "title",
    "category",
    "price",
    "in_stock",
    "updated_at",
    "image",
    "image_path",
)
CORRUPT = "_corrupt_record"
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
PANDAS_INDEX = re.compile(r"__index_level_\d+__")
# pandas writes nanoseconds, for which Spark has no type: it reads them as numbers. INT96 it reads as timestamps.
NANOSECONDS_AS_NUMBERS = "spark.sql.legacy.parquet.nanosAsLong"


def read_rows(spark: SparkSession, feed: Feed) -> DataFrame:
    """The feed's rows in `RAW_SCHEMA`, lazily; `InputError` when the file as a whole has an unknown column or type.

    A line that cannot be read is a row whose `fault` says why and whose `copy` is the line.
    """
    readers = {"parquet": _read_parquet, "csv": _read_csv, "jsonl": _read_jsonl, "idx": read_idx_rows}
    return readers[feed.kind](spark, feed)


def _read_parquet(spark: SparkSession, feed: Feed) -> DataFrame:
    from pyspark.sql import functions as f

    _check_parquet_types(feed.source)
    spark.conf.set(NANOSECONDS_AS_NUMBERS, "true")
    frame = spark.read.parquet(feed.spark_path)
    if dict(frame.dtypes).get("updated_at") == "bigint":
        frame = frame.withColumn("updated_at", f.timestamp_micros(f.expr("updated_at div 1000")))
    return _canonical(frame)


def _read_csv(spark: SparkSession, feed: Feed) -> DataFrame:
    """As RFC 4180 has it, in UTF-8, with a header; a value may hold line breaks, so that one task must read the file."""
    from pyspark.sql import functions as f

    header = _csv_header(feed.source)
    _check_names(feed.source, header)
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
    rows = _canonical(frame.withColumnRenamed("image", "image_base64"))
    fault = f.when(f.col("copy").isNotNull(), f.lit("the line does not have the cells that the header names"))
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
    except Exception as error:  # whatever one line does to the parser, the others are read
        return {"fault": f"the line cannot be read: {reason_of(error)}", "copy": text}


def _json_row(line: str) -> dict[str, str | None]:
    try:
        record = json.loads(line.removeprefix("\ufeff"), parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        return {"fault": f"the line is not JSON: {error}", "copy": line}
    if not isinstance(record, dict):
        return {"fault": "the line is not a JSON object", "copy": line}
    product_id = record["product_id"] if isinstance(record.get("product_id"), str) else None
    if "\\u" in line and HALF_A_CHARACTER.search(json.dumps(record, ensure_ascii=False)):
        return {"fault": "the line escapes half a character (a lone surrogate)", "copy": line}
    if unknown := sorted(record.keys() - set(FEED_COLUMNS)):
        return {"product_id": product_id, "fault": f"unknown column {', '.join(unknown)}", "copy": line}
    if nested := sorted(name for name, value in record.items() if isinstance(value, dict | list)):
        return {
            "product_id": product_id,
            "fault": f"{', '.join(nested)} holds more than one value",
            "copy": line,
        }
    cells = {name: str(value).lower() if isinstance(value, bool) else value for name, value in record.items()}
    return {("image_base64" if name == "image" else name): value for name, value in cells.items()}


def _canonical(frame: DataFrame) -> DataFrame:
    from pyspark.sql import functions as f

    def column(name: str, kind: str) -> Any:
        return (f.col(name) if name in frame.columns else f.lit(None)).cast(kind)

    # Spark passes on bytes that are no UTF-8; Arrow and Python would stumble over them.
    text = [f.make_valid_utf8(column(name, "string")).alias(name) for name in TEXT_COLUMNS]
    copy = column(CORRUPT, "string").alias("copy")
    return frame.select(
        *text, f.lit(None).cast("string").alias("fault"), copy, column("image", "binary").alias("image")
    )


def _csv_header(source: Path) -> list[str]:
    # More is decoded than the header: bytes of a row that are no UTF-8 are that row's fault.
    with source.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        lines = csv.reader(iter(partial(file.readline, 1 << 16), ""))
        try:
            names = next(lines, [])
        except csv.Error:
            names = None
    if names is None or NO_TEXT.search("".join(names)):
        raise InputError(
            f"{source} has no header that can be read. Deliver it in UTF-8, with the names of its columns."
        )
    return names


def _check_names(source: Path, names: list[str]) -> None:
    unknown = sorted(set(names) - set(FEED_COLUMNS))
    twice = sorted({name for name in names if names.count(name) > 1})
    if unknown or twice or "product_id" not in names:
        faults = [f"unknown column {', '.join(unknown)}"] * bool(unknown) + [
            f"column {', '.join(twice)} twice"
        ] * bool(twice)
        fault = " and ".join(faults) or "no column product_id"
        raise InputError(
            f"{source} has {fault}; a feed has the columns {', '.join(FEED_COLUMNS)}. Correct it and deliver the feed again."
        )


def _check_parquet_types(source: Path) -> None:
    """`InputError` on a column that a feed does not have, or whose type does not fit."""
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.types as t

    try:
        schema = ds.dataset(source, format="parquet").schema
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{source} is not Parquet: {error}. Deliver the feed again.") from error
    fields = [field for field in schema if not PANDAS_INDEX.fullmatch(field.name)]
    if len(fields) < len(schema):
        log.info(
            f"{source} has an index of pandas as a column, which is passed over; `to_parquet(index=False)` leaves it out."
        )
    _check_names(source, [field.name for field in fields])
    number = (t.is_integer, t.is_float32, t.is_float64, t.is_decimal128)  # Spark reads no others
    text = (t.is_string, t.is_large_string, t.is_string_view)
    accepted = {
        "price": number,
        "in_stock": (t.is_boolean, t.is_integer),
        "updated_at": (t.is_timestamp, t.is_date),
        "image": (t.is_binary, t.is_large_binary, t.is_binary_view),
    }

    def fits(field: pa.Field) -> bool:
        stored = (
            field.type.value_type if t.is_dictionary(field.type) else field.type
        )  # such as a pandas categorical
        return t.is_null(stored) or any(test(stored) for test in accepted.get(field.name, text))

    wrong = [field for field in fields if not fits(field)]
    if wrong:
        faults = ", ".join(f"{field.name} is {field.type}" for field in wrong)
        raise InputError(
            f"{source} has columns of unknown type: {faults}. Expected: price a number, in_stock boolean, 0 or 1, "
            "updated_at a timestamp or a date, image binary, the others text."
        )
