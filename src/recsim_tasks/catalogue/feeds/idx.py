"""IDX files, Fashion-MNIST's format (yann.lecun.com/exdb/mnist), as the rows of a feed; gzip or plain."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.catalogue.feeds.manifest import Manifest
from recsim_tasks.catalogue.feeds.rows import RAW_SCHEMA, raw_batch
from recsim_tasks.foundation.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

IDX_IMAGES_MAGIC, IDX_LABELS_MAGIC = 2051, 2049


def read_idx_rows(spark: SparkSession, feed: Feed) -> DataFrame:
    """One product an image: its number is its id, its label its category."""
    images, labels, manifest = feed.source, feed.labels(), feed.manifest
    rows = idx_shape(images, IDX_IMAGES_MAGIC)[0]
    if idx_shape(labels, IDX_LABELS_MAGIC)[0] != rows:
        raise InputError(
            f"{labels} does not have one label for each of the {rows:,} images of {images}. Deliver both files of one set."
        )

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        pixels, names = read_idx(images), read_idx(labels)
        for batch in batches:
            yield _idx_rows(batch.column("id").to_pylist(), pixels, names, manifest)

    return spark.range(rows).mapInArrow(read, RAW_SCHEMA)


def _idx_rows(
    numbers: list[int], pixels: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], manifest: Manifest
) -> pa.RecordBatch:
    from PIL import Image

    def png(array: np.ndarray[Any, Any]) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    def name(label: int) -> str:
        return manifest.categories[label] if label < len(manifest.categories) else str(label)

    def row(n: int) -> dict[str, Any]:
        category = name(int(labels[n]))
        return {
            "product_id": f"{manifest.id_prefix}{n}",
            "title": f"{category} {n}",
            "category": category,
            "image": png(pixels[n]),
        }

    return raw_batch([row(n) for n in numbers])


def idx_shape(path: Path, magic: int) -> tuple[int, ...]:
    """The shape that an IDX file's header states."""
    with _open(path) as file:
        head = file.read(4)
        if len(head) < 4 or struct.unpack(">i", head)[0] != magic:
            raise InputError(
                f"{path} is not an IDX file of the expected kind (magic number {magic}). Deliver the feed again."
            )
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
