"""Deliveries of new images, and how the plan reacts to them over several releases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks.data import ORIGIN
from recsim_demo.fashion_mnist import CATEGORIES, FashionMnist
from recsim_tasks.arrays import Float32Array, Int64Array, UInt8Array
from recsim_tasks.catalogue.images.decode import image_hash
from recsim_tasks.release.evaluation.drift import Drift, accumulate
from recsim_tasks.release.evaluation.drift_estimate import estimate_drift
from recsim_tasks.vectors.brute_force import exact_neighbours
from recsim_tasks.vectors.index import Index

RELEASES = 5
USUAL_MIX = "the usual mix"
Embed = Callable[[UInt8Array], Float32Array]


@dataclass(frozen=True)
class EmbeddedCatalogue:
    """A catalogue with the embeddings of its images, and their categories as positions in `CATEGORIES`."""

    table: pa.Table
    vectors: Float32Array
    labels: Int64Array
    index: Index

    @classmethod
    def of(cls, data: FashionMnist, embed: Embed) -> EmbeddedCatalogue:
        """The catalogue of all training images."""
        table, vectors = products(data.train_images, data.train_labels), embed(data.train_images)
        return cls(table, vectors, data.train_labels.astype(np.int64), _index(table, vectors))

    def precision_at_1(self, vectors: Float32Array, labels: Int64Array) -> float:
        """Share of `vectors` [n, d] whose nearest image in the catalogue has the category in `labels` [n]."""
        nearest, _ = exact_neighbours(self.vectors, vectors, 1)
        return float((self.labels[nearest[:, 0]] == labels).mean())

    def drift_of(self, table: pa.Table, vectors: Float32Array) -> Drift | None:
        """The drift of a release that adds these products to the catalogue."""
        extended = _index(pa.concat_tables([self.table, table]), np.concatenate([self.vectors, vectors]))
        return estimate_drift(extended, self.index)


def products(images: UInt8Array, labels: Any, prefix: str = "known") -> pa.Table:
    """Make a product of each image."""
    names = [CATEGORIES[label] for label in labels]
    ids = [f"{prefix}-{number}" for number in range(len(images))]
    hashes = [image_hash(Image.fromarray(image)) for image in images]
    columns = {"product_id": ids, "title": names, "category": names, "image_hash": hashes}
    return pa.table({**columns, "price": [1.0] * len(ids), "in_stock": [True] * len(ids)})


def draws(labels: Int64Array, category: str, size: int, seed: int) -> Iterator[Int64Array]:
    """Draw the rows of five deliveries of `size` images, of one category or the usual mix; no row twice."""
    rows = (
        np.arange(len(labels))
        if category == USUAL_MIX
        else np.flatnonzero(labels == CATEGORIES.index(category))
    )
    chosen = np.random.default_rng(seed).permutation(rows)
    for release in range(RELEASES):
        delivery = chosen[release * size : (release + 1) * size]
        if len(delivery):
            yield delivery


def over_releases(
    catalogue: EmbeddedCatalogue, table: pa.Table, vectors: Float32Array, deliveries: Iterator[Int64Array]
) -> list[Drift | None]:
    """The drift that each release states, accumulated over the deliveries.

    All are compared with the same catalogue.
    """
    total: Drift | None = None
    drifts = []
    for rows in deliveries:
        total = accumulate(total, catalogue.drift_of(table.take(pa.array(rows)), vectors[rows]))
        drifts.append(total)
    return drifts


def _index(table: pa.Table, vectors: Float32Array) -> Index:
    return Index.build(table, vectors, ORIGIN, exact_below=10**9)
