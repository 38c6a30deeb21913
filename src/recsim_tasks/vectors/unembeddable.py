"""Pictures that a model gives no unit vector: their products go to quarantine, not into the index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.reader import read_products
from recsim_tasks.catalogue.feeds.quarantine import quarantine_products
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.embeddings import faulted

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

REASON = "the image does not decode, or model {} gives it no unit vector, so that it has no neighbours; deliver another image"


def set_aside(spark: SparkSession, settings: Settings, cursor: Cursor, model_fingerprint: str) -> int:
    """Have in quarantine the products at `cursor` whose picture the model gives no unit vector, and no others; how many pictures these are.

    Safe to repeat: it goes by what the embeddings table says, not by what was just embedded.
    """
    products = products_without_vector(settings, cursor, model_fingerprint)
    quarantine_products(
        spark,
        settings,
        f"model {model_fingerprint}",
        REASON.format(model_fingerprint[:12]),
        products["product_id"].to_pylist(),
    )
    return len(products["image_hash"].unique())


def products_without_vector(settings: Settings, cursor: Cursor, model_fingerprint: str) -> pa.Table:
    """`product_id` and `image_hash` of the products at `cursor` that the model's index cannot have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    hashes = faulted(settings.embeddings_uri, model_fingerprint)
    if not len(hashes):
        return pa.table({"product_id": pa.array([], pa.string()), "image_hash": pa.array([], pa.string())})
    products = read_products(settings.products_uri, cursor, ["product_id", "image_hash"])
    return products.filter(pc.is_in(products["image_hash"], value_set=hashes))
