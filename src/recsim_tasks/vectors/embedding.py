"""Embed on Spark, by one model, the images of the catalogue that it has not embedded yet."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_tasks.arrays import UInt8Array
from recsim_tasks.catalogue.delta.image_files import locate_images
from recsim_tasks.catalogue.delta.reader import read_products
from recsim_tasks.catalogue.delta.writer import flush
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.logging import configure
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.spark import log_stage_progress, spark_session
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.preprocessing import Preprocessing, fit, open_readable
from recsim_tasks.vectors.batching import Chunk, chunks
from recsim_tasks.vectors.embeddings import COLUMNS, SCHEMA, create_table, without_embedding
from recsim_tasks.vectors.thumbnails import thumbnail
from recsim_tasks.vectors.unembeddable import set_aside
from recsim_tasks.vectors.validation import unit_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

# Work is handed out in tasks of this many images: small enough to show progress, large enough to run at full speed.
IMAGES_A_TASK = 4096


def embed_missing(settings: Settings, cursor: Cursor, model_dir: Path) -> dict[str, int]:
    """Embed what an anti-join of the catalogue at `cursor` with the embeddings table leaves.

    Returns `embedded`, `reused` and `of`, counted in different images, and how many of all are `faulted`: the model gives them no unit
    vector, and their products go to quarantine. Every `settings.embed_commit_images` images are a commit, so that a killed run is gone
    on with where it was.
    """
    with (
        lease(settings.home, settings.embeddings_uri),
        spark_session(settings, f"recsim embed {cursor.version}") as spark,
        log_stage_progress(spark, "embed"),
    ):
        create_table(spark, settings.embeddings_uri)
        fingerprint = Embedder(model_dir).fingerprint
        counts = _embed(spark, settings, cursor, model_dir, fingerprint)
        return {**counts, "faulted": set_aside(spark, settings, cursor, fingerprint)}


def _embed(
    spark: SparkSession, settings: Settings, cursor: Cursor, model_dir: Path, fingerprint: str
) -> dict[str, int]:
    """The anti-join is done here, of hashes alone: building the index of these images takes eight times the memory, in one place as well."""
    images = read_products(settings.products_uri, cursor, ["image_hash"])["image_hash"].unique()
    missing = without_embedding(settings.embeddings_uri, fingerprint, images)
    reused, done, of = len(images) - len(missing), 0, len(images)
    if not len(missing):
        return {"embedded": 0, "reused": reused, "of": of}
    run = _on_workers(spark, settings, fingerprint, model_dir)
    for chunk in chunks(locate_images(settings.products_uri, cursor, missing), settings.embed_commit_images):
        _pictures(spark, settings, chunk).mapInArrow(run, SCHEMA).write.format("delta").mode("append").save(
            settings.embeddings_uri
        )
        flush(settings.embeddings_uri)
        done += len(chunk.images)
        log.info(
            f"embed: {done:,} of {len(missing):,} images embedded and committed; {reused:,} of {of:,} were before"
        )
    if done < len(missing):
        raise RecsimError(
            f"{len(missing) - done:,} images of version {cursor.version} are in no file of {settings.products_uri}. Plan the refresh anew."
        )
    return {"embedded": done, "reused": reused, "of": of}


def _pictures(spark: SparkSession, settings: Settings, chunk: Chunk) -> DataFrame:
    """`image_hash` and `image` of a chunk, maybe repeated, equal ones in one partition; from its files alone, past Delta."""
    import pyarrow as pa
    from pyspark.sql import functions as f

    hashes = spark.createDataFrame(pa.table({"image_hash": chunk.images}))
    tasks = max(settings.spark_shuffle_partitions, -(-len(chunk.images) // IMAGES_A_TASK))
    held = spark.read.schema("image_hash string, image binary").parquet(*chunk.files)
    return held.join(f.broadcast(hashes), "image_hash", "left_semi").repartition(tasks, "image_hash")


def _on_workers(spark: SparkSession, settings: Settings, fingerprint: str, model_dir: Path) -> Any:
    """The function that Spark's Python workers run; the model travels to them, since a cluster's executors have no folder of ours."""
    spark.sparkContext.addFile(str(model_dir), recursive=True)
    folder, max_pixels = model_dir.name, settings.image_max_pixels

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import SparkFiles

        configure()
        network, seen = _loaded(SparkFiles.get(folder)), set[str]()
        for batch in batches:
            first = {
                name: row for row, name in enumerate(batch["image_hash"].to_pylist()) if name not in seen
            }
            seen |= first.keys()
            if first:
                yield _embedded(batch.take(list(first.values())), network, fingerprint, max_pixels)

    return run


def _embedded(batch: pa.RecordBatch, network: Embedder, fingerprint: str, max_pixels: int) -> pa.RecordBatch:
    """Rows of the embeddings table; without a vector where the image does not decode or none of unit length comes."""
    import pyarrow as pa

    pixels, thumbnails = _decoded(batch["image"].to_pylist(), network.preprocessing, max_pixels)
    vectors, unreadable = network.embed(pixels), np.array([found is None for found in thumbnails], bool)
    offsets = pa.array(np.arange(len(vectors) + 1) * vectors.shape[1], pa.int32())
    lists = pa.ListArray.from_arrays(
        offsets, pa.array(vectors.ravel()), mask=pa.array(unreadable | ~unit_rows(vectors))
    )
    columns = [
        pa.array([fingerprint] * len(vectors)),
        batch["image_hash"],
        lists,
        pa.array(thumbnails, pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, names=COLUMNS)


def _decoded(
    images: list[bytes | None], preprocessing: Preprocessing, max_pixels: int
) -> tuple[UInt8Array, list[bytes | None]]:
    """Decode images to the network's input uint8 [n, size, size, channels] and thumbnails; zeros and None where one does not decode."""
    pixels, thumbnails = np.zeros((len(images), *preprocessing.shape), np.uint8), list[bytes | None]()
    for row, image in enumerate(open_readable(images, max_pixels)):
        thumbnails.append(None if image is None else thumbnail(image))
        if image is not None:
            pixels[row] = fit(image, preprocessing)
    return pixels, thumbnails


@cache
def _loaded(model_dir: str) -> Embedder:
    """The network, once a Python worker: on the GPU that Spark gave the task, else on the task's processors."""
    from pyspark import TaskContext

    task = TaskContext.get()
    assert task is not None
    if "gpu" in task.resources():
        from recsim_tasks.learning.model.saved_model_embedder import GpuEmbedder

        return GpuEmbedder(Path(model_dir), task.resources()["gpu"].addresses[0])
    return Embedder(Path(model_dir), threads=task.cpus())
