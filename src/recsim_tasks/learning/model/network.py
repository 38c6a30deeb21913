"""The network: a backbone, pooled, that ends in a unit vector."""

from __future__ import annotations

from typing import Any

from recsim_tasks.learning.model.backbones import MOMENTUM, build_backbone
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.tensorflow_runtime import tensorflow


def build_network(
    preprocessing: Preprocessing, embedding_size: int, backbone: str = "cnn", weights: str | None = None
) -> Any:
    """Build a TF Similarity `SimilarityModel`: pixels 0..255, float32 [n, size, size, channels], to L2-normalised float32 [n, embedding_size].

    Each map of the backbone is pooled by generalised mean, p = 3, after F. Radenović, G. Tolias, O. Chum, "Fine-tuning CNN Image Retrieval
    with No Human Annotation" (2018, https://arxiv.org/abs/1711.02512); that several are taken together follows B. Hariharan et al.,
    "Hypercolumns for Object Segmentation and Fine-grained Localization" (CVPR 2015, https://arxiv.org/abs/1411.5752). Where Keras computes
    in less than float32, pooling and embedding do not.
    """
    tf = tensorflow()
    from tensorflow_similarity.layers import MetricEmbedding
    from tensorflow_similarity.models import SimilarityModel

    pixels = tf.keras.layers.Input(preprocessing.shape, name="pixels")
    pooled = [
        _pooled(features)
        for features in tf.nest.flatten(build_backbone(backbone, preprocessing, weights)(pixels))
    ]
    x = pooled[0] if len(pooled) == 1 else tf.keras.layers.Concatenate(dtype="float32")(pooled)
    return SimilarityModel(pixels, MetricEmbedding(embedding_size, name="embedding", dtype="float32")(x))


def _pooled(features: Any) -> Any:
    """Centred, or all embeddings start out nearly alike."""
    from tensorflow_similarity.layers import GeneralizedMeanPooling2D

    normalised = tensorflow().keras.layers.BatchNormalization(momentum=MOMENTUM, dtype="float32")
    return normalised(GeneralizedMeanPooling2D(p=3.0, dtype="float32")(features))
