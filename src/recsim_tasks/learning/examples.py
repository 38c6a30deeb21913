"""Labelled images out of the catalogue at one version, read from Delta's Parquet without Spark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.catalogue.table import iter_products, read_products
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.learning.preprocessing import Pixels, Preprocessing, decode_all
from recsim_tasks.learning.split import Split, split_of


@dataclass(frozen=True)
class Survey:
    """What there is to learn from: the categories that can be told apart, and how many of their images each split has."""

    categories: tuple[str, ...]
    train: int
    validation: int


@dataclass(frozen=True)
class Examples:
    """Decoded images, uint8 [n, h, w, c], the numbers of their categories, int64 [n], and their products."""

    images: Pixels
    labels: npt.NDArray[np.int64]
    product_ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def survey(uri: str, cursor: Cursor) -> Survey:
    """Count labelled images by split; `InputError` when they are too few to learn a similarity from."""
    table = read_products(uri, cursor, ["category", "image_hash"])
    pairs = zip(table["category"].to_pylist(), table["image_hash"].to_pylist(), strict=True)
    counts = Counter((category, split_of(image_hash)) for category, image_hash in pairs if category)
    categories = tuple(sorted(category for (category, split), count in counts.items() if split == "train" and count > 1))
    train, validation = (sum(counts[category, split] for category in categories) for split in ("train", "validation"))
    if len(categories) < 2 or validation < 2:
        raise InputError(
            f"The catalogue {uri} at version {cursor.version} has {len(categories)} categories with at least two training images, and {validation} validation images; "
            "training needs two of each. Deliver products with a category, then run the refresh again."
        )
    return Survey(categories, train, validation)


def load(
    uri: str, cursor: Cursor, preprocessing: Preprocessing, categories: tuple[str, ...], split: Split, wanted: Callable[[str], bool]
) -> Examples:
    """Decode the images of `split` whose category is one of `categories` and whose product id is `wanted`, ordered by product id.

    Streams the table, but holds what it keeps decoded in memory: size² x channels bytes an image (47 MB for 60,000 of 28 x 28 x 1,
    740 MB for 60,000 of 64 x 64 x 3), shared out among the ranks.
    """
    numbers = {category: number for number, category in enumerate(categories)}
    kept: list[tuple[str, int, Pixels]] = []
    for batch in iter_products(uri, cursor, ["product_id", "category", "image_hash", "image"]):
        rows = zip(*(batch.column(name).to_pylist() for name in ("product_id", "category", "image_hash")), strict=True)
        chosen = [(n, *row) for n, row in enumerate(rows) if row[1] in numbers and split_of(row[2]) == split and wanted(row[0])]
        images = decode_all([batch.column("image")[n].as_py() for n, *_ in chosen], preprocessing)
        kept += [(product_id, numbers[category], image) for (_, product_id, category, _), image in zip(chosen, images, strict=True)]
    kept.sort(key=lambda example: example[0])
    images = np.stack([image for *_, image in kept]) if kept else np.empty((0, *preprocessing.shape), np.uint8)
    return Examples(images, np.array([label for _, label, _ in kept], np.int64), tuple(product_id for product_id, *_ in kept))
