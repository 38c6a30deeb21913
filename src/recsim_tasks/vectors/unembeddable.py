"""Images that an encoder cannot embed: their products go to quarantine, not into the index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.reader import read_products
from recsim_tasks.catalogue.feeds.quarantine import quarantine_products
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.embeddings import unembeddable_hashes

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

REASON = "the image does not decode, or encoder {} gives it no unit vector; deliver another image"


def quarantine_unembeddable(
    spark: SparkSession, settings: Settings, cursor: Cursor, model_fingerprint: str
) -> int:
    """Quarantine exactly the products at `cursor` whose image the encoder cannot embed.

    Returns the number of images. Safe to repeat: it follows the embeddings table, not what was just embedded.
    """
    products = products_without_vector(settings, cursor, model_fingerprint)
    quarantine_products(
        spark,
        settings,
        f"model {model_fingerprint}",
        REASON.format(model_fingerprint[:12]),
        set(products["product_id"].to_pylist()),
    )
    return len(products["image_hash"].unique())


def products_without_vector(settings: Settings, cursor: Cursor, model_fingerprint: str) -> pa.Table:
    """Return `product_id` and `image_hash` of the products at `cursor` that the encoder cannot embed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    hashes = unembeddable_hashes(settings.embeddings_uri, model_fingerprint)
    if not len(hashes):
        return pa.table({"product_id": pa.array([], pa.string()), "image_hash": pa.array([], pa.string())})
    products = read_products(settings.products_uri, cursor, ["product_id", "image_hash"])
    return products.filter(pc.is_in(products["image_hash"], value_set=hashes))
