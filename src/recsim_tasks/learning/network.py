"""The network: a backbone, pooled, that ends in a unit vector."""

from __future__ import annotations

from typing import Any

from recsim_tasks.learning.backbones import MOMENTUM, build_backbone
from recsim_tasks.learning.backend import tensorflow
from recsim_tasks.learning.preprocessing import Preprocessing


def build_network(preprocessing: Preprocessing, embedding_size: int, backbone: str = "cnn", weights: str | None = None) -> Any:
    """Build a TF Similarity `SimilarityModel`: pixels 0..255, float32 [n, size, size, channels], to L2-normalised float32 [n, embedding_size].

    Pooling by generalised mean after F. Radenović, G. Tolias, O. Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation"
    (2018, https://arxiv.org/abs/1711.02512), p = 3. Where Keras computes in less than float32, pooling and embedding do not.
    """
    tf = tensorflow()
    from tensorflow_similarity.layers import GeneralizedMeanPooling2D, MetricEmbedding
    from tensorflow_similarity.models import SimilarityModel

    layers = tf.keras.layers
    pixels = layers.Input(preprocessing.shape, name="pixels")
    x = GeneralizedMeanPooling2D(p=3.0, dtype="float32")(build_backbone(backbone, preprocessing, weights)(pixels))
    # Centred, or all embeddings start out nearly alike.
    x = layers.BatchNormalization(momentum=MOMENTUM, dtype="float32")(x)
    return SimilarityModel(pixels, MetricEmbedding(embedding_size, name="embedding", dtype="float32")(x))
