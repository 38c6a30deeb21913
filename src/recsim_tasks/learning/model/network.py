"""The network: a backbone, pooled, that ends in a unit vector."""

from __future__ import annotations

from typing import Any

from recsim_tasks.learning.model.backbones import MOMENTUM, build_backbone
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.tensorflow_runtime import tensorflow, tensorflow_similarity


def build_network(
    preprocessing: Preprocessing, embedding_size: int, backbone: str = "cnn", weights: str | None = None
) -> Any:
    """Build a `SimilarityModel`: pixels 0..255, float32 [n, size, size, channels], to unit vectors [n, d].

    Each feature map of the backbone is pooled by the generalised mean, p = 3, after F. Radenović, G. Tolias,
    O. Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (2018,
    https://arxiv.org/abs/1711.02512); several maps are concatenated, after B. Hariharan et al., "Hypercolumns
    for Object Segmentation and Fine-grained Localization" (CVPR 2015, https://arxiv.org/abs/1411.5752).
    Pooling and embedding always compute in float32.
    """
    keras, similarity = tensorflow().keras, tensorflow_similarity()
    pixels = keras.layers.Input(preprocessing.shape, name="pixels")
    features = tensorflow().nest.flatten(build_backbone(backbone, preprocessing, weights)(pixels))
    pooled = [_pooled(maps) for maps in features]
    x = pooled[0] if len(pooled) == 1 else keras.layers.Concatenate(dtype="float32")(pooled)
    embedding = similarity.layers.MetricEmbedding(embedding_size, name="embedding", dtype="float32")(x)
    return similarity.models.SimilarityModel(pixels, embedding)


def _pooled(features: Any) -> Any:
    """Pool and centre: without centring, all embeddings start out nearly equal."""
    pooling = tensorflow_similarity().layers.GeneralizedMeanPooling2D(p=3.0, dtype="float32")
    normalised = tensorflow().keras.layers.BatchNormalization(momentum=MOMENTUM, dtype="float32")
    return normalised(pooling(features))
