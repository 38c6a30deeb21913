"""The recipe of the article that this project is based on, as published and repaired.

"How to Build an Image Recommendation System for Online Retail", Databricks, 2022: a CNN of three
convolutions, MultiSimilarity loss over batches of 20 images of each of 7 classes. It scales pixels to 0..1
twice, in the loader and in a layer, and trains at a rate of 0.00135.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from recsim_tasks.learning.tensorflow_runtime import tensorflow

CLASSES = (2, 3, 1, 7, 9, 6, 8)
EACH = 20
RATE, REPAIRED_RATE = 0.00135, 0.0003
EMBED_BATCH = 512


def article(images: Any, labels: Any, seconds: float, seed: int, *, repaired: bool) -> Callable[[Any], Any]:
    """Train for `seconds` on images uint8 [n, 28, 28] and labels [n]; returns a function to unit vectors.

    As published it trains on 7 of the 10 classes; repaired it scales once, at a lower learning rate, and
    trains on all classes.
    """
    tf = tensorflow(threads=2)
    from tensorflow_similarity.losses import MultiSimilarityLoss

    tf.keras.utils.set_random_seed(seed)
    model, loss = _network(tf, 1.0 if repaired else 1 / 255), MultiSimilarityLoss(distance="cosine")
    optimizer = tf.keras.optimizers.legacy.Adam(REPAIRED_RATE if repaired else RATE)

    @tf.function  # type: ignore[untyped-decorator]
    def step(pixels: Any, classes: Any) -> None:
        with tf.GradientTape() as tape:
            value = loss(classes, model(pixels, training=True))
        optimizer.apply_gradients(
            zip(tape.gradient(value, model.trainable_variables), model.trainable_variables, strict=True)
        )

    rng, chosen = np.random.default_rng(seed), np.unique(labels) if repaired else np.array(CLASSES)
    rows_of = {label: np.flatnonzero(labels == label) for label in chosen}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        rows = np.concatenate(
            [rng.choice(rows_of[label], EACH) for label in rng.permutation(chosen)[: len(CLASSES)]]
        )
        step(_pixels(tf, images[rows]), tf.constant(labels[rows]))

    def embed(images: Any) -> Any:
        parts = [
            model(_pixels(tf, images[at : at + EMBED_BATCH]), training=False).numpy()
            for at in range(0, len(images), EMBED_BATCH)
        ]
        return np.concatenate(parts)

    return embed


def _pixels(tf: Any, images: Any) -> Any:
    return tf.constant(images[..., None].astype(np.float32) / 255)


def _network(tf: Any, scale: float) -> Any:
    from tensorflow_similarity.layers import MetricEmbedding
    from tensorflow_similarity.models import SimilarityModel

    layers = tf.keras.layers
    pixels = layers.Input((28, 28, 1))
    x = layers.Rescaling(scale)(pixels)
    for width in (32, 64, 256):
        x = layers.Conv2D(width, 3, activation="relu")(x)
        x = layers.Dropout(0.3)(layers.MaxPool2D(2, 2)(x))
    return SimilarityModel(pixels, MetricEmbedding(256)(layers.Flatten()(x)))
