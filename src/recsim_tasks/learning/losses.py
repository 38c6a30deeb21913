"""What training minimises: images of one category close to each other and to their category's proxy, others apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recsim_tasks.learning.backend import tensorflow
from recsim_tasks.learning.parameters import Parameters

SMOOTHING = 0.1
Loss = Callable[[Any, Any], Any]


def build_proxies(categories: int, embedding_size: int, seed: int) -> Any:
    """One trainable vector a category, float32 [categories, embedding_size]; used in training only, not part of the network."""
    tf = tensorflow()
    return tf.Variable(tf.random.stateless_normal([categories, embedding_size], seed=[seed, 1]), name="proxies")


def build_loss(parameters: Parameters, proxies: Any, pair_share: Any) -> Loss:
    """Build the loss of labels int64 [n] and embeddings float32 [n, d], a scalar: proxy cross-entropy + `pair_weight` x `pair_share` x MultiSimilarity.

    MultiSimilarity: X. Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", CVPR 2019, as TF
    Similarity has it. By itself it learns slowly, and at high rates it collapses; the proxies prevent both.
    """
    from tensorflow_similarity.losses import MultiSimilarityLoss

    pairs = MultiSimilarityLoss(distance="cosine")

    def loss(labels: Any, embeddings: Any) -> Any:
        return proxy_cross_entropy(labels, embeddings, proxies, parameters) + parameters.pair_weight * pair_share * pairs(
            labels, embeddings
        )

    return loss


def proxy_cross_entropy(labels: Any, embeddings: Any, proxies: Any, parameters: Parameters) -> Any:
    """Cross-entropy over the scaled cosines of `embeddings` to all `proxies`, a margin taken off the right one, labels smoothed.

    H. Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018 (https://arxiv.org/abs/1801.09414).
    """
    tf = tensorflow()
    cosines = tf.matmul(embeddings, tf.math.l2_normalize(proxies, axis=1), transpose_b=True)
    right = tf.one_hot(labels, proxies.shape[0])
    logits = parameters.proxy_scale * (cosines - parameters.proxy_margin * right)
    return tf.reduce_mean(tf.keras.losses.categorical_crossentropy(right, logits, from_logits=True, label_smoothing=SMOOTHING))
