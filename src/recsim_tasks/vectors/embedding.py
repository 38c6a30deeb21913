"""Embed on Spark, by one model, the images of the catalogue that it has not embedded yet."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.catalogue.spark import following, spark_session
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.preprocessing import decode_all
from recsim_tasks.vectors.embeddings import SCHEMA, create_table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

# Work is handed out in tasks of this many images: small enough to show progress, large enough to run at full speed.
IMAGES_A_TASK = 4096
NORM_TOLERANCE = 1e-3


def embed_missing(settings: Settings, cursor: Cursor, model_dir: Path) -> dict[str, int]:
    """Embed what an anti-join of the catalogue at `cursor` with the embeddings table leaves.

    Returns `embedded`, `reused` and `of`, counted in different images. One commit: a killed run has embedded nothing, a rerun does it all.
    """
    with (
        lease(settings.home, settings.embeddings_uri),
        spark_session(settings, f"recsim embed {cursor.version}") as spark,
        following(spark, "embed"),
    ):
        create_table(spark, settings.embeddings_uri)
        return _embed(spark, settings, cursor, model_dir)


def _embed(spark: SparkSession, settings: Settings, cursor: Cursor, model_dir: Path) -> dict[str, int]:
    fingerprint = Embedder(model_dir).fingerprint
    images = spark.read.format("delta").option("versionAsOf", cursor.version).load(settings.products_uri).select("image_hash", "image")
    done = spark.read.format("delta").load(settings.embeddings_uri).where(f"model_fingerprint = '{fingerprint}'").select("image_hash")
    of = images.select("image_hash").distinct().count()
    missing = images.join(done, "image_hash", "left_anti").dropDuplicates(["image_hash"])
    embedded = missing.select("image_hash").count()
    if embedded:
        tasks = max(settings.spark_shuffle_partitions, -(-embedded // IMAGES_A_TASK))
        _append(spark, settings, missing.repartition(tasks), fingerprint, model_dir)
    return {"embedded": embedded, "reused": of - embedded, "of": of}


def _append(spark: SparkSession, settings: Settings, missing: DataFrame, fingerprint: str, model_dir: Path) -> None:
    spark.sparkContext.addFile(str(model_dir), recursive=True)  # the executors of a cluster have no folder of ours
    folder, max_pixels = model_dir.name, settings.image_max_pixels

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import SparkFiles

        for batch in batches:
            yield _embedded(batch, SparkFiles.get(folder), fingerprint, max_pixels)

    missing.mapInArrow(run, SCHEMA).write.format("delta").mode("append").save(settings.embeddings_uri)


def _embedded(batch: pa.RecordBatch, model_dir: str, fingerprint: str, max_pixels: int) -> pa.RecordBatch:
    import pyarrow as pa

    embedder = _loaded(model_dir)
    vectors = embedder.embed(decode_all(batch.column("image").to_pylist(), embedder.preprocessing, max_pixels))
    _check(vectors, batch.column("image_hash").to_pylist())
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]).cast(pa.list_(pa.float32()))
    return pa.RecordBatch.from_arrays(
        [pa.array([fingerprint] * len(vectors)), batch.column("image_hash"), lists], names=["model_fingerprint", "image_hash", "embedding"]
    )


@cache
def _loaded(model_dir: str) -> Embedder:
    """The network, once a Python worker."""
    return Embedder(Path(model_dir), threads=1)


def _check(vectors: np.ndarray[Any, Any], image_hashes: list[str]) -> None:
    bad = np.flatnonzero(~(np.abs(np.linalg.norm(vectors, axis=1) - 1) < NORM_TOLERANCE))
    if len(bad):
        raise RecsimError(f"The model gives no unit vector for {len(bad)} images, the first {image_hashes[bad[0]]}. Train it anew.")
