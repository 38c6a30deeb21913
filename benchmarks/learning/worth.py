"""What a model is worth: Fashion-MNIST's 10,000 test images asked of its 60,000 training images, and what else is asked of those."""

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
from recsim_demo.dataset import FashionMnist
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.images.decode import image_hash
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.data.splits import split_of
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.evaluation.baselines import Pca, pixels, untrained
from recsim_tasks.learning.evaluation.retrieval import answers
from recsim_tasks.learning.mlflow_runs import Tracker
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.training.train import train

UNSEEN = (0, 4, 5, 8)
REPAIRED = "the article's, repaired"
PREPROCESSING = Preprocessing(28, 1)
Embed = Callable[[Any], Any]


def write_products(uri: str, data: FashionMnist, numbers: Any) -> Cursor:
    """A catalogue of these training images; where it stands."""
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


def learn(settings: Settings, cursor: Cursor, images: int, folder: Path) -> tuple[Embed, float]:
    """Train on `images`, counted with repetition; the model as a function from uint8 [n, 28, 28] to vectors, and the minutes of its steps."""
    result = train(settings.model_copy(update={"train_images": images}), cursor, {}, folder)
    points = Tracker(settings).client.get_metric_history(result["mlflow_run_id"], "loss")
    at = sorted(point.timestamp for point in points)
    embedder = Embedder(folder, threads=2)
    # Of n rounds the time between the ends of the first and the last is n - 1.
    return lambda pictures: embedder.embed(pictures[..., None]), (at[-1] - at[0]) / 60_000 * len(at) / max(
        1, len(at) - 1
    )


def without_learning(data: FashionMnist, size: int) -> dict[str, Embed]:
    """What every model must beat."""
    pca, fresh = Pca(pixels(data.train_images[..., None]), size), untrained(PREPROCESSING, size, 20)
    return {
        "raw pixels": lambda pictures: pixels(pictures[..., None]),
        "PCA of the pixels": lambda pictures: pca(pixels(pictures[..., None])),
        "untrained network": lambda pictures: np.concatenate(
            [fresh(pictures[at : at + 500, ..., None]) for at in range(0, len(pictures), 500)]
        ),
    }


def articles(data: FashionMnist, minutes: float) -> dict[str, Embed]:
    """The article's recipe, trained for as long as ours."""
    labels = data.train_labels.astype(np.int64)
    return {
        name: article(data.train_images, labels, minutes * 60, 20, name == REPAIRED)
        for name in ("the article's recipe", REPAIRED)
    }


def article_without_some(data: FashionMnist, minutes: float) -> Embed:
    """The article's recipe, repaired, that has not seen four of the classes."""
    seen = ~np.isin(data.train_labels, UNSEEN)
    return article(
        data.train_images[seen], data.train_labels[seen].astype(np.int64), minutes * 60, 20, repaired=True
    )


def ask(bench: Bench, name: str, embed: Embed, data: FashionMnist, only: Sequence[int] = ()) -> None:
    """Note precision@1, @10, MAP@R and R-precision of the test images, all or those of `only` some classes, among all training images."""
    labels, theirs = data.test_labels.astype(np.int64), data.train_labels.astype(np.int64)
    asked = np.isin(labels, only) if len(only) else np.ones(len(labels), bool)
    found = answers(embed(data.test_images[asked]), labels[asked], embed(data.train_images), theirs, {})
    for metric, value in found.metrics.items():
        bench.figure(f"{name}: {metric}", value)


def ask_of_additions(bench: Bench, embed: Embed, data: FashionMnist) -> None:
    """Add half of the test images to the gallery; ask for more like each of them, and like products that were there but not trained on.

    Every product is left out of its own answer.
    """
    added = len(data.test_images) // 2
    vectors = np.concatenate([embed(data.train_images), embed(data.test_images[:added])])
    labels = np.concatenate([data.train_labels, data.test_labels[:added]]).astype(np.int64)
    old = np.array(
        [split_of(image_hash(Image.fromarray(picture))) == "test" for picture in data.train_images]
    )
    for name, rows in (("added", np.arange(len(old), len(labels))), ("there before", np.flatnonzero(old))):
        near = answers(vectors[rows], labels[rows], vectors, labels, {}).nearest
        other = np.where(near[:, 0] == rows, near[:, 1], near[:, 0])
        bench.figure(f"{name}: precision_at_1", float((labels[other] == labels[rows]).mean()))
