"""The embeddings table: one row a (model, image), so that no image is embedded twice by one model."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsim_tasks.arrays import BoolArray, Float32Array, Int64Array, UInt8Array
from recsim_tasks.catalogue.delta import writer
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.thumbnails import BYTES

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

# An embedding that is null: the model gives this image no unit vector. A thumbnail that is null: the image does not decode.
SCHEMA = "model_fingerprint string, image_hash string, embedding array<float>, thumbnail binary"
COLUMNS = [column.split()[0] for column in SCHEMA.split(", ")]


class Embedded(NamedTuple):
    """Hold what the table has of n images."""

    vectors: Float32Array
    """Embeddings float32 [n, d]; zeros where the model gives no unit vector."""
    good: BoolArray
    """Which of them have an embedding, [n]."""
    thumbnails: UInt8Array
    """Thumbnails uint8 [n, 147]; zeros where the image does not decode."""

    def take(self, rows: Int64Array) -> Embedded:
        """Select the images in these rows."""
        return Embedded(self.vectors[rows], self.good[rows], self.thumbnails[rows])


def create_table(spark: SparkSession, uri: str) -> None:
    """Create the table where it is missing; a model's embeddings lie in a partition of their own. The caller holds its lease."""
    empty_without_thumbnails(uri)
    spec = writer.TableSpec(
        uri=uri,
        columns=SCHEMA,
        properties={"delta.enableDeletionVectors": "false"},
        partitioned_by="model_fingerprint",
    )
    writer.create_table(spark, spec)


def empty_without_thumbnails(uri: str) -> None:
    """Take all rows out of a table that an earlier version made without thumbnails, so that its images are embedded again."""
    from deltalake import DeltaTable, Field
    from deltalake.schema import PrimitiveType

    if not DeltaTable.is_deltatable(uri) or "thumbnail" in {
        field.name for field in DeltaTable(uri).schema().fields
    }:
        return
    log.info(f"{uri} was written by an earlier version, without thumbnails: its images are embedded again.")
    DeltaTable(uri).delete()
    DeltaTable(uri).alter.add_columns(Field("thumbnail", PrimitiveType("binary")))


def without_embedding(uri: str, model_fingerprint: str | None, image_hashes: pa.Array) -> pa.Array:
    """Those of `image_hashes`, each there once, that a model has not embedded yet; all when there is no model, or no table."""
    import pyarrow.compute as pc

    if model_fingerprint is None:
        return image_hashes
    done = _hashes(uri, f"model_fingerprint = '{model_fingerprint}'")
    return image_hashes.filter(pc.invert(pc.is_in(image_hashes, value_set=done)))


def faulted(uri: str, model_fingerprint: str) -> pa.Array:
    """The hashes of the images that a model gives no unit vector."""
    return _hashes(uri, f"model_fingerprint = '{model_fingerprint}' AND embedding IS NULL")


def read_embeddings(uri: str, model_fingerprint: str, image_hashes: pa.ChunkedArray) -> Embedded:
    """Read what one model made of `image_hashes` [n], in their order. Raises `RecsimError` when an image has not been embedded yet."""
    encoded = image_hashes.combine_chunks().dictionary_encode()
    found, seen = _scan(uri, model_fingerprint, encoded.dictionary)
    if not seen.all():
        raise RecsimError(
            f"{int((~seen).sum()):,} of {len(seen):,} images are not embedded by model {model_fingerprint[:12]}. Run `recsim embed` first."
        )
    places = np.asarray(encoded.indices)
    return (
        found if np.array_equal(places, np.arange(len(seen))) else found.take(places)
    )  # not a copy of a million vectors


def forget_unused(settings: Settings, used: set[str]) -> int:
    """Remove the embeddings of models that are not `used`, unless one of them was written within the retention; how many models went.

    A model whose release is still in the making is in no registry, but its embeddings are new.
    """
    import pyarrow as pa
    from deltalake import DeltaTable

    uri = settings.embeddings_uri
    if not DeltaTable.is_deltatable(uri):
        return 0
    with lease(settings.home, uri):
        table = DeltaTable(uri)
        oldest = (datetime.now(UTC) - timedelta(days=settings.retention_days)).timestamp() * 1000
        files = pa.table(table.get_add_actions(flatten=True)).select(
            ["partition.model_fingerprint", "modification_time"]
        )
        newest = (
            files.group_by("partition.model_fingerprint")
            .aggregate([("modification_time", "max")])
            .to_pylist()
        )
        models = [
            row["partition.model_fingerprint"] for row in newest if row["modification_time_max"] < oldest
        ]
        for model in (gone := sorted(set(models) - used)):
            table.delete(f"model_fingerprint = '{model}'")
    return len(gone)


def _hashes(uri: str, where: str) -> pa.Array:
    import pyarrow as pa
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(uri):
        return pa.array([], pa.string())
    scan = DeltaTable(uri).scan(columns=["image_hash"], predicate=where)
    return pa.RecordBatchReader.from_stream(scan).read_all()["image_hash"].cast(pa.string()).combine_chunks()


def _scan(uri: str, model_fingerprint: str, wanted: pa.Array) -> tuple[Embedded, BoolArray]:
    """Read what the table has of the different hashes `wanted` [n], in their order, and whether it has a row of each.

    A batch at a time: a model's whole partition is gone through, and never held.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from deltalake import DeltaTable

    seen, good, thumbnails = (
        np.zeros(len(wanted), bool),
        np.zeros(len(wanted), bool),
        np.zeros((len(wanted), BYTES), np.uint8),
    )
    vectors = np.zeros((len(wanted), 0), np.float32)
    scan = DeltaTable(uri).scan(
        columns=["image_hash", "embedding", "thumbnail"],
        predicate=f"model_fingerprint = '{model_fingerprint}'",
    )
    for batch in pa.RecordBatchReader.from_stream(scan):
        places = pc.index_in(batch["image_hash"].cast(pa.string()), value_set=wanted)
        here = pc.is_valid(places)
        seen[np.asarray(places.filter(here))] = True
        decoded, whole = (pc.and_(here, pc.is_valid(batch[name])) for name in ("thumbnail", "embedding"))
        images = b"".join(batch["thumbnail"].cast(pa.binary()).filter(decoded).to_pylist())
        thumbnails[np.asarray(places.filter(decoded))] = np.frombuffer(images, np.uint8).reshape(-1, BYTES)
        rows = np.asarray(places.filter(whole))
        if len(rows):
            found = np.asarray(batch["embedding"].filter(whole).flatten(), np.float32).reshape(len(rows), -1)
            vectors = vectors if vectors.shape[1] else np.zeros((len(wanted), found.shape[1]), np.float32)
            vectors[rows], good[rows] = found, True
    return Embedded(vectors, good, thumbnails), seen
