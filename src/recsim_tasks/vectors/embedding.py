"""Embed the images of the catalogue that an encoder has not embedded yet, on Spark."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.arrays import UInt8Array
from recsim_tasks.catalogue.delta.image_files import locate_images
from recsim_tasks.catalogue.delta.reader import read_products
from recsim_tasks.catalogue.delta.writer import flush
from recsim_tasks.contracts import Cursor, EmbedResult
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.logging import configure
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.spark import log_stage_progress, spark_session
from recsim_tasks.learning.embedder import Embedder, EncoderDescription
from recsim_tasks.learning.preprocessing import Preprocessing, open_readable, resize_and_pad
from recsim_tasks.vectors.batching import ImageBatch, image_batches
from recsim_tasks.vectors.embeddings import COLUMNS, SCHEMA, create_table, without_embedding
from recsim_tasks.vectors.thumbnails import thumbnail
from recsim_tasks.vectors.unembeddable import quarantine_unembeddable
from recsim_tasks.vectors.validation import is_unit

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

# Images per Spark task: few enough to show progress, enough to run at full speed.
IMAGES_PER_TASK = 4096


def embed_missing(settings: Settings, cursor: Cursor, model_dir: Path) -> EmbedResult:
    """Embed the images of the catalogue at `cursor` that are missing from the embeddings table.

    Products whose image the encoder cannot embed go to quarantine. The table is committed every
    `settings.embed_commit_images` images; a killed run resumes after its last commit.
    """
    with (
        lease(settings.home, settings.embeddings_uri),
        spark_session(settings, f"recsim embed {cursor.version}") as spark,
        log_stage_progress(spark, "embed"),
    ):
        create_table(spark, settings.embeddings_uri)
        fingerprint = EncoderDescription.read(model_dir).fingerprint
        missing, total = _missing_images(settings, cursor, fingerprint)
        if len(missing):
            _embed(spark, settings, cursor, _Encoder(model_dir, fingerprint), missing)
        unembeddable = quarantine_unembeddable(spark, settings, cursor, fingerprint)
    return EmbedResult(
        embedded=len(missing), reused=total - len(missing), of=total, unembeddable=unembeddable
    )


def _missing_images(settings: Settings, cursor: Cursor, fingerprint: str) -> tuple[pa.Array, int]:
    """Return the hashes of the images at `cursor` to embed, and the number of all images.

    The anti-join runs on the driver, on hashes alone: building their index, also on one machine, takes eight
    times the memory.
    """
    images = read_products(settings.products_uri, cursor, ["image_hash"])["image_hash"].unique()
    return without_embedding(settings.embeddings_uri, fingerprint, images), len(images)


@dataclass(frozen=True)
class _Encoder:
    folder: Path
    fingerprint: str


def _embed(
    spark: SparkSession, settings: Settings, cursor: Cursor, encoder: _Encoder, missing: pa.Array
) -> None:
    """Embed the `missing` images batch by batch, each a commit of the embeddings table."""
    run, done = _worker(spark, settings, encoder), 0
    for batch in image_batches(
        locate_images(settings.products_uri, cursor, missing), settings.embed_commit_images
    ):
        rows = _images(spark, settings, batch).mapInArrow(run, SCHEMA)
        rows.write.format("delta").mode("append").save(settings.embeddings_uri)
        flush(settings.embeddings_uri)
        done += len(batch.images)
        log.info("embed: %s of %s images embedded and committed", f"{done:,}", f"{len(missing):,}")
    if done < len(missing):
        raise RecsimError(
            f"{len(missing) - done:,} images of version {cursor.version} are in no file of "
            f"{settings.products_uri}. Plan the refresh again."
        )


def _images(spark: SparkSession, settings: Settings, batch: ImageBatch) -> DataFrame:
    """Read `image_hash` and `image` of a batch from its files alone, past Delta.

    An image may occur more than once; its rows share a partition.
    """
    import pyarrow as pa
    from pyspark.sql import functions as f

    hashes = spark.createDataFrame(pa.table({"image_hash": batch.images}))
    tasks = max(settings.spark_shuffle_partitions, -(-len(batch.images) // IMAGES_PER_TASK))
    rows = spark.read.schema("image_hash string, image binary").parquet(*batch.files)
    return rows.join(f.broadcast(hashes), "image_hash", "left_semi").repartition(tasks, "image_hash")


def _worker(
    spark: SparkSession, settings: Settings, encoder: _Encoder
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the function that Spark's Python workers run.

    The encoder is shipped to them: executors of a cluster do not see this machine's folders.
    """
    spark.sparkContext.addFile(str(encoder.folder), recursive=True)
    folder, fingerprint, max_pixels = encoder.folder.name, encoder.fingerprint, settings.image_max_pixels

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import SparkFiles

        configure()
        embedder, seen = _open_embedder(SparkFiles.get(folder)), set[str]()
        for batch in batches:
            new = {name: row for row, name in enumerate(batch["image_hash"].to_pylist()) if name not in seen}
            seen |= new.keys()
            if new:
                yield _embedded(batch.take(list(new.values())), embedder, fingerprint, max_pixels)

    return run


def _embedded(batch: pa.RecordBatch, embedder: Embedder, fingerprint: str, max_pixels: int) -> pa.RecordBatch:
    """Make rows of the embeddings table.

    The vector is null where an image does not decode or has no unit vector.
    """
    import pyarrow as pa

    pixels, thumbnails = _decode(batch["image"].to_pylist(), embedder.preprocessing, max_pixels)
    vectors = embedder.embed(pixels)
    unreadable = np.array([thumbnail is None for thumbnail in thumbnails], bool)
    offsets = pa.array(np.arange(len(vectors) + 1) * vectors.shape[1], pa.int32())
    lists = pa.ListArray.from_arrays(
        offsets, pa.array(vectors.ravel()), mask=pa.array(unreadable | ~is_unit(vectors))
    )
    columns = [
        pa.array([fingerprint] * len(vectors)),
        batch["image_hash"],
        lists,
        pa.array(thumbnails, pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, names=COLUMNS)


def _decode(
    images: list[bytes | None], preprocessing: Preprocessing, max_pixels: int
) -> tuple[UInt8Array, list[bytes | None]]:
    """Decode images to the encoder's input uint8 [n, size, size, channels] and to thumbnails.

    Zeros and None stand for an image that does not decode.
    """
    pixels, thumbnails = np.zeros((len(images), *preprocessing.shape), np.uint8), list[bytes | None]()
    for row, image in enumerate(open_readable(images, max_pixels)):
        thumbnails.append(None if image is None else thumbnail(image))
        if image is not None:
            pixels[row] = resize_and_pad(image, preprocessing)
    return pixels, thumbnails


@cache
def _open_embedder(model_dir: str) -> Embedder:
    """Open the encoder once per Python worker, on the task's GPU if Spark gave it one, else on its CPUs."""
    from pyspark import TaskContext

    task = TaskContext.get()
    assert task is not None
    if "gpu" in task.resources():
        from recsim_tasks.learning.model.saved_model_embedder import GpuEmbedder

        return GpuEmbedder(Path(model_dir), task.resources()["gpu"].addresses[0])
    return Embedder(Path(model_dir), threads=task.cpus())
