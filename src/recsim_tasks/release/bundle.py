"""A bundle: model, index and manifest in one folder. Made here, checked here, asked here."""

from __future__ import annotations

import base64
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recsim_tasks.arrays import Float32Array
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import digests, link_or_copy, publishing
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.preprocessing import decode_all, decode_query
from recsim_tasks.release.manifest import Canary, Manifest, Training
from recsim_tasks.vectors.filters import Filters
from recsim_tasks.vectors.index import Index

MODEL, INDEX = "model", "index"
# How far a vector of a canary may be from the manifest's, in any of its numbers: another processor rounds otherwise.
TOLERANCE = 1e-4
# For images that a caller sends, unless RECSIM_SERVING_MAX_PIXELS says otherwise.
MAX_PIXELS = 16_000_000
ANSWERED = ("title", "category", "price", "in_stock")


def assemble(
    model_dir: Path,
    index_dir: Path,
    canary_images: list[bytes],
    metrics: dict[str, float],
    training: Training,
    catalogue_at: float,
    out: Path,
) -> Manifest:
    """Publish a model and an index that belong together as the bundle `out`, in one step; `InputError` when they do not.

    `catalogue_at` is when the version of the catalogue that they reflect was committed, in seconds since the epoch.
    """
    embedder, index = Embedder(model_dir), Index.open(index_dir)
    _check_same_model(embedder, index)
    vectors = embedder.embed(decode_all(canary_images, embedder.preprocessing))
    with publishing(out) as staged:
        for source, name in ((model_dir, MODEL), (index_dir, INDEX)):
            shutil.copytree(source, staged / name, copy_function=link_or_copy)
        manifest = Manifest(
            cursor=Cursor.from_json(index.metadata["cursor"]),
            catalogue_at=catalogue_at,
            model_fingerprint=embedder.fingerprint,
            index_fingerprint=index.metadata["index_fingerprint"],
            mlflow_run_id=embedder.description.mlflow_run_id,
            preprocessing=embedder.preprocessing,
            embedding_size=embedder.embedding_size,
            training=training,
            counts=_counts(index),
            metrics=metrics,
            canaries=[_canary(image, vector) for image, vector in zip(canary_images, vectors, strict=True)],
            digests=digests(staged),
        ).sealed()
        manifest.write(staged)
    return manifest


class Release:
    """One bundle, opened: a query is embedded by the very model that made the vectors it is compared with. Threads may share it."""

    def __init__(self, manifest: Manifest, embedder: Embedder, index: Index, max_pixels: int) -> None:
        self.manifest, self.embedder, self.index = manifest, embedder, index
        self._max_pixels = max_pixels

    @classmethod
    def open(cls, folder: Path, max_pixels: int = MAX_PIXELS) -> Release:
        """Open the bundle in `folder`; `InputError` with the reason when it is not what its manifest says.

        Names and digests of all files are checked before a native library sees one; then the canaries; then the index.
        """
        manifest = Manifest.of_whole(folder)
        embedder = Embedder(folder / MODEL)
        _check_canaries(folder, manifest, embedder)
        index = Index.open(folder / INDEX, checked=True)
        _check_same_model(embedder, index)
        return cls(manifest, embedder, index, max_pixels)

    def similar(self, image: bytes, k: int, filters: Filters, distinct: bool = False) -> list[dict[str, Any]]:
        """Find the `k` products that look most like the picture, best first; `InputError` when it does not decode.

        Of products whose images are copies of each other `distinct` leaves the first. Each is a dict of `product_id`, `score` (cosine),
        `title`, `category`, `price`, `in_stock`.
        """
        pixels = decode_query(image, self.embedder.preprocessing, self._max_pixels)
        return self._answer(self.embedder.embed(pixels[None]), k, filters, distinct)

    def more_like(
        self, product_id: str, k: int, filters: Filters, distinct: bool = False
    ) -> list[dict[str, Any]]:
        """Find the `k` products that look most like a product, without itself; `InputError` when it is not in the release."""
        return self._answer(
            self.index.vector(product_id)[None],
            k,
            replace(filters, exclude=(*filters.exclude, product_id)),
            distinct,
        )

    def _answer(self, query: Float32Array, k: int, filters: Filters, distinct: bool) -> list[dict[str, Any]]:
        found = self.index.neighbours(query, k, filters, distinct)
        there = found.positions[0] >= 0
        products = self.index.products_at(found.positions[0][there], ("product_id", *ANSWERED))
        return [
            {
                "product_id": product["product_id"],
                "score": round(float(score), 6),
                **{name: product[name] for name in ANSWERED},
            }
            for product, score in zip(products, found.scores[0][there], strict=True)
        ]


def _counts(index: Index) -> dict[str, int]:
    categories = len(index.products.column("category").drop_null().unique())
    return {
        "products": len(index),
        "categories": categories,
        "built": index.metadata["built"],
        "churn": index.metadata["churn"],
    }


def _canary(image: bytes, vector: Float32Array) -> Canary:
    return Canary(image=base64.b64encode(image).decode(), vector=vector.tolist())


def _check_canaries(folder: Path, manifest: Manifest, embedder: Embedder) -> None:
    if (embedder.preprocessing, embedder.embedding_size) != (manifest.preprocessing, manifest.embedding_size):
        raise InputError(
            f"The model in {folder} takes or gives other shapes than its manifest says. Register the release anew."
        )
    images = decode_all([canary.data for canary in manifest.canaries], embedder.preprocessing)
    expected = np.array([canary.vector for canary in manifest.canaries], np.float32).reshape(len(images), -1)
    found = embedder.embed(images)
    difference = (
        float(np.abs(found - expected).max(initial=0)) if found.shape == expected.shape else float("inf")
    )
    if not difference <= TOLERANCE:
        raise InputError(
            f"The model in {folder} gives other vectors for its canary images than it must, by up to {difference:.1e} "
            f"where {TOLERANCE} is accepted. It would not fit its index: register the release anew."
        )


def _check_same_model(embedder: Embedder, index: Index) -> None:
    made_by = str(index.metadata["model_fingerprint"])
    if made_by != embedder.fingerprint:
        raise InputError(
            f"The index holds vectors of model {made_by[:12]}, the bundle has model {embedder.fingerprint[:12]}. "
            "Run the refresh again with mode rebuild."
        )
