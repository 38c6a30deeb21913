"""Read a feed's rows through Spark, whatever the format, to text columns and the image's bytes."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.feed import Feed, Manifest
from recsim_tasks.catalogue.rows import TEXT_COLUMNS
from recsim_tasks.foundation.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

FEED_COLUMNS = ("product_id", "op", "title", "category", "price", "in_stock", "updated_at", "image", "image_path")
RAW_SCHEMA = ", ".join(f"{name} string" for name in TEXT_COLUMNS) + ", image binary"
IDX_IMAGES_MAGIC, IDX_LABELS_MAGIC = 2051, 2049


def read_rows(spark: SparkSession, feed: Feed) -> DataFrame:
    """The feed's rows with the columns of `TEXT_COLUMNS` (string) and `image` (binary); `InputError` on an unknown column or type."""
    readers = {"parquet": _read_parquet, "csv": _read_csv, "jsonl": _read_jsonl, "idx": _read_idx}
    return readers[feed.kind](spark, feed)


def _read_parquet(spark: SparkSession, feed: Feed) -> DataFrame:
    _check_parquet_types(feed.source)
    return _canonical(spark.read.parquet(str(feed.source)), image_is_text=False)


def _read_csv(spark: SparkSession, feed: Feed) -> DataFrame:
    frame = spark.read.csv(str(feed.source), header=True, inferSchema=False, multiLine=True, quote='"', escape='"', mode="FAILFAST")
    _check_names(feed.source, frame.columns)
    return _canonical(frame, image_is_text=True)


def _read_jsonl(spark: SparkSession, feed: Feed) -> DataFrame:
    from pyspark.errors import PySparkException

    schema = ", ".join(f"{name} string" for name in FEED_COLUMNS)
    try:
        _check_names(feed.source, spark.read.json(str(feed.source), primitivesAsString=True, mode="FAILFAST").columns)
        return _canonical(spark.read.json(str(feed.source), schema=schema, mode="FAILFAST"), image_is_text=True)
    except PySparkException as error:
        raise InputError(f"{feed.source} is not JSON lines: {error}. Correct it and deliver the feed again.") from error


def _canonical(frame: DataFrame, image_is_text: bool) -> DataFrame:
    from pyspark.sql import functions as f

    def column(name: str, kind: str) -> Any:
        return (f.col(name) if name in frame.columns else f.lit(None)).cast(kind)

    text = [column(name, "string").alias(name) for name in TEXT_COLUMNS if name != "image_base64"]
    encoded = column("image", "string") if image_is_text else f.lit(None).cast("string")
    plain = f.lit(None).cast("binary") if image_is_text else column("image", "binary")
    return frame.select(*text, encoded.alias("image_base64"), plain.alias("image"))


def _check_names(source: Path, names: list[str]) -> None:
    unknown = sorted(set(names) - set(FEED_COLUMNS))
    if unknown or "product_id" not in names:
        fault = f"unknown column {', '.join(unknown)}" if unknown else "no column product_id"
        raise InputError(f"{source} has {fault}; a feed has the columns {', '.join(FEED_COLUMNS)}. Correct it and deliver the feed again.")


def _check_parquet_types(source: Path) -> None:
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.types as t

    try:
        schema = ds.dataset(source, format="parquet").schema
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{source} is not Parquet: {error}. Deliver the feed again.") from error
    _check_names(source, schema.names)
    number = (t.is_integer, t.is_floating, t.is_decimal)
    text = (t.is_string, t.is_large_string, t.is_string_view)
    accepted = {
        "price": number,
        "in_stock": (t.is_boolean,),
        "updated_at": (t.is_timestamp,),
        "image": (t.is_binary, t.is_large_binary, t.is_binary_view),
    }
    wrong = [f for f in schema if not t.is_null(f.type) and not any(test(f.type) for test in accepted.get(f.name, text))]
    if wrong:
        faults = ", ".join(f"{field.name} is {field.type}" for field in wrong)
        raise InputError(
            f"{source} has columns of unknown type: {faults}. Expected: price a number, in_stock boolean, updated_at a timestamp, image binary, the others text."
        )


def _read_idx(spark: SparkSession, feed: Feed) -> DataFrame:
    images, labels, manifest = feed.source, feed.labels(), feed.manifest
    rows = idx_shape(images, IDX_IMAGES_MAGIC)[0]
    if idx_shape(labels, IDX_LABELS_MAGIC)[0] != rows:
        raise InputError(f"{labels} does not have one label for each of the {rows:,} images of {images}. Deliver both files of one set.")

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        pixels, names = read_idx(images), read_idx(labels)
        for batch in batches:
            yield _idx_rows(batch.column("id").to_pylist(), pixels, names, manifest)

    return spark.range(rows).mapInArrow(read, RAW_SCHEMA)


def _idx_rows(numbers: list[int], pixels: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], manifest: Manifest) -> pa.RecordBatch:
    import pyarrow as pa
    from PIL import Image

    def png(array: np.ndarray[Any, Any]) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    def name(label: int) -> str:
        return manifest.categories[label] if label < len(manifest.categories) else str(label)

    def row(n: int) -> dict[str, Any]:
        category = name(int(labels[n]))
        return {"product_id": f"{manifest.id_prefix}{n}", "title": f"{category} {n}", "category": category, "image": png(pixels[n])}

    schema = pa.schema([*((column, pa.string()) for column in TEXT_COLUMNS), ("image", pa.binary())])
    return pa.RecordBatch.from_pylist([row(n) for n in numbers], schema=schema)


def idx_shape(path: Path, magic: int) -> tuple[int, ...]:
    """The shape that an IDX file's header states (format: yann.lecun.com/exdb/mnist); gzip or plain."""
    with _open(path) as file:
        head = file.read(4)
        if len(head) < 4 or struct.unpack(">i", head)[0] != magic:
            raise InputError(f"{path} is not an IDX file of the expected kind (magic number {magic}). Deliver the feed again.")
        return struct.unpack(f">{head[3]}i", file.read(4 * head[3]))


def read_idx(path: Path) -> np.ndarray[Any, Any]:
    """The whole of an IDX file of unsigned bytes, in its shape."""
    import numpy as np

    with _open(path) as file:
        dimensions = file.read(4)[3]
        shape = struct.unpack(f">{dimensions}i", file.read(4 * dimensions))
        return np.frombuffer(file.read(), dtype=np.uint8).reshape(shape)


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
