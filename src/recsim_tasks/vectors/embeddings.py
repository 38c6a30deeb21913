"""The embeddings table: one row a (model, image), so that no image is embedded twice by one model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.catalogue import tables
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.exact import Floats
from recsim_tasks.vectors.ranking import Flags

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

# An embedding that is null: the model gives this image no unit vector.
SCHEMA = "model_fingerprint string, image_hash string, embedding array<float>"


def create_table(spark: SparkSession, uri: str) -> None:
    """Create the table where it is missing; a model's embeddings lie in a partition of their own. The caller holds its lease."""
    tables.create_table(spark, uri, SCHEMA, {"delta.enableDeletionVectors": "false"}, "model_fingerprint")


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


def read_embeddings(uri: str, model_fingerprint: str, image_hashes: pa.ChunkedArray) -> tuple[Floats, Flags]:
    """The embeddings float32 [n, d] of `image_hashes` [n] by one model, in their order, and which of them are there [n].

    The others are zeros: the model gives these images no unit vector. Raises `RecsimError` when an image has not been embedded yet.
    """
    encoded = image_hashes.combine_chunks().dictionary_encode()
    vectors, seen, good = _scan(uri, model_fingerprint, encoded.dictionary)
    if not seen.all():
        raise RecsimError(
            f"{int((~seen).sum()):,} of {len(seen):,} images are not embedded by model {model_fingerprint[:12]}. Run `recsim embed` first."
        )
    places = np.asarray(encoded.indices)
    if np.array_equal(places, np.arange(len(vectors))):
        return vectors, good  # not a copy of a million vectors
    return vectors[places], good[places]


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
        files = pa.table(table.get_add_actions(flatten=True)).select(["partition.model_fingerprint", "modification_time"])
        newest = files.group_by("partition.model_fingerprint").aggregate([("modification_time", "max")]).to_pylist()
        models = [row["partition.model_fingerprint"] for row in newest if row["modification_time_max"] < oldest]
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


def _scan(uri: str, model_fingerprint: str, wanted: pa.Array) -> tuple[Floats, Flags, Flags]:
    """By place in `wanted` [n], different hashes: vectors float32 [n, d], whether there is a row, and whether it has a vector.

    A batch at a time: a model's whole partition is gone through, and never held.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from deltalake import DeltaTable

    vectors, seen, good = np.zeros((len(wanted), 0), np.float32), np.zeros(len(wanted), bool), np.zeros(len(wanted), bool)
    scan = DeltaTable(uri).scan(columns=["image_hash", "embedding"], predicate=f"model_fingerprint = '{model_fingerprint}'")
    for batch in pa.RecordBatchReader.from_stream(scan):
        places = pc.index_in(batch["image_hash"].cast(pa.string()), value_set=wanted)
        here, embeddings = pc.is_valid(places), batch["embedding"]
        seen[np.asarray(places.filter(here))] = True
        whole = pc.and_(here, pc.is_valid(embeddings))
        rows = np.asarray(places.filter(whole))
        if len(rows):
            found = np.asarray(embeddings.filter(whole).flatten(), np.float32).reshape(len(rows), -1)
            vectors = vectors if vectors.shape[1] else np.zeros((len(wanted), found.shape[1]), np.float32)
            vectors[rows], good[rows] = found, True
    return vectors, seen, good
