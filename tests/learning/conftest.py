"""A small real catalogue: the first 2,000 images of Fashion-MNIST, 100 of them without a category."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from PIL import Image

from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.images.decode import image_hash
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from recsim_demo.fashion_mnist import FashionMnist

PRODUCTS = 2_000
UNLABELLED = 100


@dataclass(frozen=True)
class Catalogue:
    """The table, its version, and its contents."""

    uri: str
    cursor: Cursor
    table: pa.Table

    def settings(self, home: Path, **changes: object) -> Settings:
        """Settings for models of 28 x 28 x 1 from this catalogue, trained briefly."""
        values: dict[str, object] = {
            "products": self.uri,
            "image_size": 28,
            "image_channels": 1,
            "embedding_size": 64,
            "train_images": 6_000,
            "tune_images": 1_500,
        }
        return Settings.model_construct(home=home, **{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory, fashion_mnist: FashionMnist) -> Catalogue:
    from deltalake import write_deltalake

    uri = str(tmp_path_factory.mktemp("catalogue") / "products")
    images = [Image.fromarray(pixels) for pixels in fashion_mnist.train_images[:PRODUCTS]]
    categories = [f"category {label}" for label in fashion_mnist.train_labels[:PRODUCTS]]
    table = pa.table(
        {
            "product_id": [f"p{n:05d}" for n in range(PRODUCTS)],
            "title": ["a product"] * PRODUCTS,
            "category": pa.array([None] * UNLABELLED + categories[UNLABELLED:], pa.string()),
            "price": [9.5] * PRODUCTS,
            "in_stock": [True] * PRODUCTS,
            "updated_at": pa.array([datetime.now(UTC)] * PRODUCTS, pa.timestamp("us", "UTC")),
            "image": pa.array([png(image) for image in images], pa.binary()),
            "image_hash": [image_hash(image) for image in images],
        }
    )
    write_deltalake(uri, table)
    cursor = head(uri)
    assert cursor is not None
    return Catalogue(uri, cursor, table)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
