"""Quality of an encoder: Fashion-MNIST's 10,000 test images, searched among its 60,000 training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from deltalake import write_deltalake
from PIL import Image

from benchmarks.bench import Bench
from benchmarks.data import products_with_images
from benchmarks.learning.recipes import article
from recsim_demo.fashion_mnist import FashionMnist
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.images.decode import image_hash
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.data.splits import split_of
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.evaluation.baselines import fit_pca, raw_pixels, untrained_network
from recsim_tasks.learning.evaluation.retrieval import LabelledVectors, evaluate_retrieval
from recsim_tasks.learning.mlflow_runs import Tracker
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.training.train import train

UNSEEN = (0, 4, 5, 8)
REPAIRED = "the article's, repaired"
PREPROCESSING = Preprocessing(28, 1)
Embed = Callable[[Any], Any]


def write_products(uri: str, data: FashionMnist, numbers: Any) -> Cursor:
    """Write a catalogue of the training images `numbers`; returns its version."""
    for part in np.array_split(numbers, -(-len(numbers) // 20_000)):
        write_deltalake(
            uri,
            products_with_images(data, part),
            mode="append",
            configuration={"delta.enableChangeDataFeed": "true"},
        )
    cursor = head(uri)
    assert cursor is not None
    return cursor


def train_encoder(settings: Settings, cursor: Cursor, images: int, folder: Path) -> tuple[Embed, float]:
    """Train on `images`, with repetition; returns a function from images to vectors, and minutes."""
    result = train(settings.model_copy(update={"train_images": images}), cursor, {}, folder)
    points = Tracker(settings).client.get_metric_history(result.mlflow_run_id, "loss")
    ends = sorted(point.timestamp for point in points)
    embedder = Embedder(folder, threads=2)
    # Of n rounds, n - 1 lie between the ends of the first and the last.
    minutes = (ends[-1] - ends[0]) / 60_000 * len(ends) / max(1, len(ends) - 1)
    return lambda images: embedder.embed(images[..., None]), minutes


def baselines(data: FashionMnist, size: int) -> dict[str, Embed]:
    """Encoders that every model must beat."""
    pca = fit_pca(raw_pixels(data.train_images[..., None]), size)
    untrained = untrained_network(PREPROCESSING, size, 20)
    return {
        "raw pixels": lambda images: raw_pixels(images[..., None]),
        "PCA of the pixels": lambda images: pca(raw_pixels(images[..., None])),
        "untrained network": lambda images: np.concatenate(
            [untrained(images[at : at + 500, ..., None]) for at in range(0, len(images), 500)]
        ),
    }


def articles(data: FashionMnist, minutes: float) -> dict[str, Embed]:
    """The article's recipe, as published and repaired, trained for as long as ours."""
    labels = data.train_labels.astype(np.int64)
    return {
        name: article(data.train_images, labels, minutes * 60, 20, repaired=name == REPAIRED)
        for name in ("the article's recipe", REPAIRED)
    }


def article_without_unseen(data: FashionMnist, minutes: float) -> Embed:
    """The article's recipe, repaired, trained without the four `UNSEEN` classes."""
    seen = ~np.isin(data.train_labels, UNSEEN)
    labels = data.train_labels[seen].astype(np.int64)
    return article(data.train_images[seen], labels, minutes * 60, 20, repaired=True)


def measure(bench: Bench, name: str, embed: Embed, data: FashionMnist, classes: Sequence[int] = ()) -> None:
    """Record the retrieval metrics of the test images, or those of `classes`, among all training images."""
    labels = data.test_labels.astype(np.int64)
    chosen = np.isin(labels, classes) if len(classes) else np.ones(len(labels), bool)
    result = evaluate_retrieval(
        LabelledVectors(embed(data.test_images[chosen]), labels[chosen]),
        LabelledVectors(embed(data.train_images), data.train_labels.astype(np.int64)),
        {},
    )
    for metric, value in result.metrics.items():
        bench.figure(f"{name}: {metric}", value)


def measure_additions(bench: Bench, embed: Embed, data: FashionMnist) -> None:
    """Add half of the test images to the references; compare these queries with earlier, untrained ones.

    Every product is left out of its own results.
    """
    added = len(data.test_images) // 2
    vectors = np.concatenate([embed(data.train_images), embed(data.test_images[:added])])
    labels = np.concatenate([data.train_labels, data.test_labels[:added]]).astype(np.int64)
    unseen = np.array([split_of(image_hash(Image.fromarray(image))) == "test" for image in data.train_images])
    everything = LabelledVectors(vectors, labels)
    rows_of = {"added": np.arange(len(unseen), len(labels)), "existing": np.flatnonzero(unseen)}
    for name, rows in rows_of.items():
        queries = LabelledVectors(vectors[rows], labels[rows])
        nearest = evaluate_retrieval(queries, everything, {}).nearest
        other = np.where(nearest[:, 0] == rows, nearest[:, 1], nearest[:, 0])
        bench.figure(f"{name}: precision_at_1", float((labels[other] == labels[rows]).mean()))
