"""What a trained model is held against, and must beat: nothing but the pixels, and a network that has learnt nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from recsim_tasks.arrays import Float32Array, UInt8Array
from recsim_tasks.learning.preprocessing import Preprocessing

LARGEST_SIDE = 28


def pixels(images: UInt8Array) -> Float32Array:
    """The pixels themselves, float32 [n, h x w x c] in 0..1, of images uint8 [n, h, w, c], made smaller than 29 x 29 where they are larger."""
    side = images.shape[1]
    if side > LARGEST_SIDE:
        images = np.stack([_smaller(image) for image in images]).reshape(
            len(images), LARGEST_SIDE, LARGEST_SIDE, -1
        )
    return images.reshape(len(images), -1).astype(np.float32) / 255


class Pca:
    """The `size` directions in which pixels vary most. K. Pearson, "On Lines and Planes of Closest Fit" (1901)."""

    def __init__(self, vectors: Float32Array, size: int) -> None:
        """Fit `vectors` [n, d]."""
        self._mean = vectors.mean(axis=0)
        _, directions = np.linalg.eigh(
            np.cov(vectors - self._mean, rowvar=False).reshape(vectors.shape[1], -1)
        )
        self._directions = directions[:, ::-1][:, :size].astype(np.float32)

    def __call__(self, vectors: Float32Array) -> Float32Array:
        """Project to float32 [n, size], or fewer where vectors have fewer."""
        return np.asarray((vectors - self._mean) @ self._directions)


def untrained(preprocessing: Preprocessing, embedding_size: int, seed: int) -> Any:
    """The network `cnn` with random weights, as a function from uint8 [n, h, w, c] to unit vectors [n, embedding_size]. Needs TensorFlow."""
    from recsim_tasks.learning.model.network import build_network
    from recsim_tasks.learning.tensorflow_runtime import tensorflow

    tf = tensorflow()
    tf.keras.utils.set_random_seed(seed)
    network = build_network(preprocessing, embedding_size)
    look = tf.function(
        lambda images: network(tf.cast(images, tf.float32), training=False), reduce_retracing=True
    )
    return lambda images: look(tf.constant(images)).numpy()


def _smaller(image: UInt8Array) -> UInt8Array:
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.asarray(picture.resize((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX))
