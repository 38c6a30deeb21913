"""A bundle: model, index and manifest in one folder; assembled, checked and queried here."""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recsim_tasks.arrays import Float32Array
from recsim_tasks.catalogue.schema import ANSWERED, ProductFields
from recsim_tasks.contracts import Metrics
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.limits import DEFAULT_QUERY_PIXELS
from recsim_tasks.foundation.publishing import digests, link_or_copy, publishing
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.preprocessing import decode_all, decode_query
from recsim_tasks.release.manifest import Canary, Manifest, Training
from recsim_tasks.vectors.filters import Filters
from recsim_tasks.vectors.index import Index

MODEL, INDEX = "model", "index"
# How far a canary's vector may be from the manifest's, in any of its numbers: processors round differently.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class BundleContents:
    """What a bundle is assembled from."""

    model: Path
    index: Path
    canary_images: list[bytes]
    """Images that the model must embed alike wherever it serves."""
    metrics: Metrics
    training: Training
    catalogue_at: float
    """When the catalogue version of the index was committed, in seconds since the epoch."""


def assemble(contents: BundleContents, out: Path) -> Manifest:
    """Publish a model and its index as the bundle `out`, in one step.

    `InputError` if another model made the index.
    """
    embedder, index = Embedder(contents.model), Index.open(contents.index)
    _check_same_model(embedder, index)
    images = contents.canary_images
    vectors = embedder.embed(decode_all(images, embedder.preprocessing))
    with publishing(out) as staged:
        for source, name in ((contents.model, MODEL), (contents.index, INDEX)):
            shutil.copytree(source, staged / name, copy_function=link_or_copy)
        manifest = Manifest(
            cursor=index.metadata.cursor,
            catalogue_at=contents.catalogue_at,
            model_fingerprint=embedder.fingerprint,
            index_fingerprint=index.metadata.index_fingerprint,
            mlflow_run_id=embedder.description.mlflow_run_id,
            preprocessing=embedder.preprocessing,
            embedding_size=embedder.embedding_size,
            training=contents.training,
            counts=_counts(index),
            metrics=contents.metrics,
            canaries=[_canary(image, vector) for image, vector in zip(images, vectors, strict=True)],
            digests=digests(staged),
        ).sealed()
        manifest.write(staged)
    return manifest


class Release:
    """An opened bundle: queries are embedded by the model that made the index.

    Safe to share between threads.
    """

    def __init__(self, manifest: Manifest, embedder: Embedder, index: Index, max_pixels: int) -> None:
        self.manifest, self.embedder, self.index = manifest, embedder, index
        self._max_pixels = max_pixels

    @classmethod
    def open(cls, folder: Path, max_pixels: int = DEFAULT_QUERY_PIXELS) -> Release:
        """Open the bundle in `folder`; `InputError` with the reason if it does not match its manifest.

        The names and digests of all files are checked before a native library reads one, then the canaries,
        then the index.
        """
        manifest = Manifest.of_whole(folder)
        embedder = Embedder(folder / MODEL)
        _check_canaries(folder, manifest, embedder)
        index = Index.open(folder / INDEX, checked=True)
        _check_same_model(embedder, index)
        return cls(manifest, embedder, index, max_pixels)

    def similar(self, image: bytes, k: int, filters: Filters, distinct: bool = False) -> list[ProductFields]:
        """The `k` products most similar to the image, best first; `InputError` if it cannot be decoded.

        With `distinct`, products with copies of one image appear once. Each product is a dict of
        `score` (cosine) and the fields of `ANSWERED`.
        """
        pixels = decode_query(image, self.embedder.preprocessing, self._max_pixels)
        return self._results(self.embedder.embed(pixels[None]), k, filters, distinct)

    def more_like(
        self, product_id: str, k: int, filters: Filters, distinct: bool = False
    ) -> list[ProductFields]:
        """The `k` products most similar to a product, without itself.

        `InputError` if the release does not have it.
        """
        return self._results(
            self.index.vector(product_id)[None],
            k,
            replace(filters, exclude=(*filters.exclude, product_id)),
            distinct,
        )

    def _results(self, query: Float32Array, k: int, filters: Filters, distinct: bool) -> list[ProductFields]:
        neighbours = self.index.neighbours(query, k, filters, distinct)
        valid = neighbours.positions[0] >= 0
        products = self.index.products_at(neighbours.positions[0][valid], ANSWERED)
        return [
            {
                "product_id": product["product_id"],
                "score": round(float(score), 6),
                **{name: product[name] for name in ANSWERED},
            }
            for product, score in zip(products, neighbours.scores[0][valid], strict=True)
        ]


def _counts(index: Index) -> dict[str, int]:
    categories = len(index.products.column("category").drop_null().unique())
    return {
        "products": len(index),
        "categories": categories,
        "built": index.metadata.built,
        "churn": index.metadata.churn,
    }


def _canary(image: bytes, vector: Float32Array) -> Canary:
    return Canary(image=base64.b64encode(image).decode(), vector=vector.tolist())


def _check_canaries(folder: Path, manifest: Manifest, embedder: Embedder) -> None:
    if (embedder.preprocessing, embedder.embedding_size) != (manifest.preprocessing, manifest.embedding_size):
        raise InputError(
            f"The shapes of the model in {folder} do not match its manifest. Register the release again."
        )
    images = decode_all([canary.data for canary in manifest.canaries], embedder.preprocessing)
    expected = np.array([canary.vector for canary in manifest.canaries], np.float32).reshape(len(images), -1)
    vectors = embedder.embed(images)
    difference = (
        float(np.abs(vectors - expected).max(initial=0)) if vectors.shape == expected.shape else float("inf")
    )
    if not difference <= TOLERANCE:
        raise InputError(
            f"The model in {folder} embeds its canary images differently than its manifest says: the vectors "
            f"differ by up to {difference:.1e}, at most {TOLERANCE} is accepted. It does not fit its index: "
            "register the release again."
        )


def _check_same_model(embedder: Embedder, index: Index) -> None:
    made_by = str(index.metadata.model_fingerprint)
    if made_by != embedder.fingerprint:
        raise InputError(
            f"The index was built with model {made_by[:12]}, but the bundle has model "
            f"{embedder.fingerprint[:12]}. Run the refresh again with mode rebuild."
        )
