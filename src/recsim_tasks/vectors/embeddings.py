"""The embeddings table: one row a (model, image), so that no image is embedded twice by one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.vectors.exact import Floats

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

SCHEMA = "model_fingerprint string, image_hash string, embedding array<float>"


def create_table(spark: SparkSession, uri: str) -> None:
    """Create the table where it is missing; a model's embeddings lie in a partition of their own."""
    from delta import DeltaTable

    columns = spark.createDataFrame([], SCHEMA).schema
    table = DeltaTable.createIfNotExists(spark).location(uri).addColumns(columns).partitionedBy("model_fingerprint")
    table.property("delta.enableDeletionVectors", "false").execute()


def count_missing(uri: str, model_fingerprint: str | None, image_hashes: pa.ChunkedArray) -> int:
    """How many different ones of `image_hashes` a model has not embedded yet; all when there is no model, or no table."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from deltalake import DeltaTable

    wanted = image_hashes.unique()
    if model_fingerprint is None or not DeltaTable.is_deltatable(uri):
        return len(wanted)
    reader = DeltaTable(uri).scan(columns=["image_hash"], predicate=f"model_fingerprint = '{model_fingerprint}'")
    done = pa.RecordBatchReader.from_stream(reader).read_all()["image_hash"].cast(pa.string())
    return len(wanted) - int(pc.sum(pc.is_in(wanted, value_set=done)).as_py() or 0)


def read_embeddings(uri: str, model_fingerprint: str, image_hashes: list[str]) -> Floats:
    """The embeddings float32 [n, d] of `image_hashes` [n] by one model, in their order.

    Raises `RecsimError` when one is missing: it has not been embedded yet.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from deltalake import DeltaTable

    reader = DeltaTable(uri).scan(columns=["image_hash", "embedding"], predicate=f"model_fingerprint = '{model_fingerprint}'")
    table = pa.RecordBatchReader.from_stream(reader).read_all()
    positions = pc.index_in(pa.array(image_hashes, pa.string()), table.column("image_hash").cast(pa.string()))
    if positions.null_count:
        raise RecsimError(
            f"{positions.null_count:,} of {len(image_hashes):,} images are not embedded by model {model_fingerprint[:12]}. Run `recsim embed` first."
        )
    taken = table.column("embedding").combine_chunks().take(positions)
    return np.asarray(taken.flatten(), np.float32).reshape(len(image_hashes), -1)
