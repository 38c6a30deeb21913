"""The embeddings table: one row per encoder and image, so that an encoder embeds no image twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsim_tasks.arrays import BoolArray, Float32Array, Int64Array, UInt8Array
from recsim_tasks.catalogue.delta import writer
from recsim_tasks.catalogue.delta.reader import iter_scan, open_if_exists, scan
from recsim_tasks.catalogue.delta.storage_errors import translate_errors
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.thumbnails import THUMBNAIL_BYTES

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

# A null embedding means that the encoder gives no unit vector for the image, a null thumbnail that the image
# does not decode.
SCHEMA = "model_fingerprint string, image_hash string, embedding array<float>, thumbnail binary"
COLUMNS = [column.split()[0] for column in SCHEMA.split(", ")]


class Embeddings(NamedTuple):
    """Rows of the embeddings table for n images."""

    vectors: Float32Array
    """Embeddings float32 [n, d]; zeros where the encoder gives no unit vector."""
    valid: BoolArray
    """Which images have an embedding, [n]."""
    thumbnails: UInt8Array
    """Thumbnails uint8 [n, 147]; zeros where the image does not decode."""

    def take(self, rows: Int64Array) -> Embeddings:
        """Select these rows."""
        return Embeddings(self.vectors[rows], self.valid[rows], self.thumbnails[rows])


def create_table(spark: SparkSession, uri: str) -> None:
    """Create the table if it is missing, partitioned by encoder. The caller has the table's lease."""
    spec = writer.TableSpec(
        uri=uri,
        columns=SCHEMA,
        properties={"delta.enableDeletionVectors": "false"},
        partitioned_by="model_fingerprint",
    )
    writer.create_table(spark, spec)


def without_embedding(uri: str, model_fingerprint: str | None, image_hashes: pa.Array) -> pa.Array:
    """Return which of the unique `image_hashes` an encoder has not embedded yet.

    Returns all of them when there is no encoder or no table yet.
    """
    import pyarrow.compute as pc

    if model_fingerprint is None:
        return image_hashes
    done = _hashes(uri, f"model_fingerprint = '{model_fingerprint}'")
    return image_hashes.filter(pc.invert(pc.is_in(image_hashes, value_set=done)))


def unembeddable_hashes(uri: str, model_fingerprint: str) -> pa.Array:
    """Return the hashes of the images that an encoder cannot embed."""
    return _hashes(uri, f"model_fingerprint = '{model_fingerprint}' AND embedding IS NULL")


def read_embeddings(uri: str, model_fingerprint: str, image_hashes: pa.ChunkedArray) -> Embeddings:
    """Read one encoder's embeddings of `image_hashes` [n], in their order.

    `RecsimError` when any is missing.
    """
    encoded = image_hashes.combine_chunks().dictionary_encode()
    read, seen = _scan(uri, model_fingerprint, encoded.dictionary)
    if not seen.all():
        raise RecsimError(
            f"{int((~seen).sum()):,} of {len(seen):,} images are not embedded by encoder "
            f"{model_fingerprint[:12]} yet. Run `recsim embed` first."
        )
    rows = np.asarray(encoded.indices)
    # Do not copy a million vectors that are in order already.
    return read if np.array_equal(rows, np.arange(len(seen))) else read.take(rows)


def delete_unused_embeddings(settings: Settings, used: set[str]) -> int:
    """Delete the embeddings of encoders that are not in `used`; returns the number of encoders.

    Encoders with an embedding written within the retention are kept: the release of a new one is not
    registered yet.
    """
    import pyarrow as pa

    uri = settings.embeddings_uri
    with lease(settings.home, uri), translate_errors(uri):
        table = open_if_exists(uri)
        if table is None:
            return 0
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
        unused = sorted(set(models) - used)
        for model in unused:
            table.delete(f"model_fingerprint = '{model}'")
    return len(unused)


def _hashes(uri: str, where: str) -> pa.Array:
    import pyarrow as pa

    table = open_if_exists(uri)
    if table is None:
        return pa.array([], pa.string())
    return scan(table, ["image_hash"], where)["image_hash"].cast(pa.string()).combine_chunks()


def _scan(uri: str, model_fingerprint: str, wanted: pa.Array) -> tuple[Embeddings, BoolArray]:
    """Read the rows of the unique hashes `wanted` [n], in their order, and which of them the table has.

    Scans the encoder's partition one record batch at a time, and never loads all of it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    seen, valid = np.zeros(len(wanted), bool), np.zeros(len(wanted), bool)
    thumbnails = np.zeros((len(wanted), THUMBNAIL_BYTES), np.uint8)
    vectors = np.zeros((len(wanted), 0), np.float32)
    columns, where = ["image_hash", "embedding", "thumbnail"], f"model_fingerprint = '{model_fingerprint}'"
    table = open_if_exists(uri)
    for batch in () if table is None else iter_scan(table, columns, where):
        positions = pc.index_in(batch["image_hash"].cast(pa.string()), value_set=wanted)
        is_wanted = pc.is_valid(positions)
        seen[np.asarray(positions.filter(is_wanted))] = True
        decoded, embedded = (
            pc.and_(is_wanted, pc.is_valid(batch[name])) for name in ("thumbnail", "embedding")
        )
        images = b"".join(batch["thumbnail"].cast(pa.binary()).filter(decoded).to_pylist())
        thumbnails[np.asarray(positions.filter(decoded))] = np.frombuffer(images, np.uint8).reshape(
            -1, THUMBNAIL_BYTES
        )
        rows = np.asarray(positions.filter(embedded))
        if len(rows):
            chosen = np.asarray(batch["embedding"].filter(embedded).flatten(), np.float32).reshape(
                len(rows), -1
            )
            vectors = vectors if vectors.shape[1] else np.zeros((len(wanted), chosen.shape[1]), np.float32)
            vectors[rows], valid[rows] = chosen, True
    return Embeddings(vectors, valid, thumbnails), seen
