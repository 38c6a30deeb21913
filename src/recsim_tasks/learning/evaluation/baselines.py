"""Baselines that a trained encoder must beat: raw pixels, their PCA, an untrained network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from recsim_tasks.arrays import Float32Array, UInt8Array
from recsim_tasks.learning.preprocessing import Preprocessing

LARGEST_SIDE = 28
EmbedImages = Callable[[UInt8Array], Float32Array]
Projection = Callable[[Float32Array], Float32Array]


def raw_pixels(images: UInt8Array) -> Float32Array:
    """The pixels of `images`, uint8 [n, h, w, c], in 0..1, float32 [n, d]; reduced to 28 x 28 if larger."""
    side = images.shape[1]
    if side > LARGEST_SIDE:
        reduced = np.stack([_reduced(image) for image in images])
        images = reduced.reshape(len(images), LARGEST_SIDE, LARGEST_SIDE, -1)
    return images.reshape(len(images), -1).astype(np.float32) / 255


def fit_pca(vectors: Float32Array, size: int) -> Projection:
    """Fit a PCA to `vectors` [n, d]; returns the projection to [m, size], or fewer if n or d is smaller."""
    from sklearn.decomposition import PCA  # type: ignore[import-untyped]

    components = min(size, *vectors.shape)
    # The exact solver for many samples of few features; the default would draw random numbers for some
    # shapes.
    pca = PCA(components, svd_solver="covariance_eigh").fit(vectors)
    return lambda others: np.asarray(pca.transform(others), np.float32)


def untrained_network(preprocessing: Preprocessing, embedding_size: int, seed: int) -> EmbedImages:
    """The backbone `cnn` with random weights, from uint8 [n, h, w, c] to unit vectors. Needs TensorFlow."""
    from recsim_tasks.learning.model.network import build_network
    from recsim_tasks.learning.tensorflow_runtime import tensorflow

    tf = tensorflow()
    tf.keras.utils.set_random_seed(seed)
    network = build_network(preprocessing, embedding_size)
    forward = tf.function(
        lambda images: network(tf.cast(images, tf.float32), training=False), reduce_retracing=True
    )
    return lambda images: np.asarray(forward(tf.constant(images)))


def _reduced(image: UInt8Array) -> UInt8Array:
    pillow = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.asarray(pillow.resize((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX))
