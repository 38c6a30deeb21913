"""The network: a small residual CNN that ends in a unit vector."""

from __future__ import annotations

from typing import Any

from recsim_tasks.learning.backend import tensorflow
from recsim_tasks.learning.preprocessing import Preprocessing

# Widths of the residual blocks; a wider block halves the side first. 0.7 million weights with an embedding of 128.
WIDTHS = (32, 32, 64, 64, 128, 128)
# Keras keeps 0.99 of the running statistics a step: a short training would end with those of its start.
MOMENTUM = 0.9
LARGEST_CONVOLVED_SIDE = 32
LARGEST_BLOCK_SIDE = 16


def build_network(preprocessing: Preprocessing, embedding_size: int) -> Any:
    """Build a TF Similarity `SimilarityModel`: pixels 0..255, float32 [n, size, size, channels], to L2-normalised float32 [n, embedding_size].

    Blocks after K. He et al., "Identity Mappings in Deep Residual Networks" (2016); pooling by generalised mean after F. Radenović,
    G. Tolias, O. Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (2018), p = 3.
    """
    tf = tensorflow()
    from tensorflow_similarity.layers import GeneralizedMeanPooling2D, MetricEmbedding
    from tensorflow_similarity.models import SimilarityModel

    layers = tf.keras.layers
    pixels = layers.Input(preprocessing.shape, name="pixels")
    x = layers.Rescaling(1 / 255)(pixels)
    x = _stem(layers, x, preprocessing.size)
    for before, width in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False):
        x = _block(layers, x, width, stride=1 if width == before else 2)
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=MOMENTUM)(x))
    x = layers.BatchNormalization(momentum=MOMENTUM)(
        GeneralizedMeanPooling2D(p=3.0)(x)
    )  # centred, or all embeddings start out nearly alike
    return SimilarityModel(pixels, MetricEmbedding(embedding_size, name="embedding")(x))


def _stem(layers: Any, x: Any, side: int) -> Any:
    """Convolve to the first width; halve the side until the first blocks, the costliest, see at most 16 x 16 places."""
    while side > LARGEST_CONVOLVED_SIDE:
        x = layers.Conv2D(WIDTHS[0], 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=MOMENTUM)(x))
        side = (side + 1) // 2
    x = layers.Conv2D(WIDTHS[0], 3, padding="same", use_bias=False)(x)
    return layers.MaxPooling2D()(x) if side > LARGEST_BLOCK_SIDE else x


def _block(layers: Any, x: Any, width: int, stride: int) -> Any:
    """Normalise, activate, convolve, twice; added to the input, which is projected where the shape changes."""
    y = layers.Activation("relu")(layers.BatchNormalization(momentum=MOMENTUM)(x))
    if stride != 1:
        x = layers.Conv2D(width, 1, strides=stride, use_bias=False)(y)
    y = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(y)
    y = layers.Activation("relu")(layers.BatchNormalization(momentum=MOMENTUM)(y))
    return layers.Add()([x, layers.Conv2D(width, 3, padding="same", use_bias=False)(y)])
