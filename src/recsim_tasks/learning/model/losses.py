"""The loss: pulls images of one category towards each other and their proxy, pushes others apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.tensorflow_runtime import tensorflow, tensorflow_similarity

SMOOTHING = 0.1
TEMPERATURE = 0.1
# The circle loss grows with gamma and would outweigh the proxy loss: both are smaller than TF Similarity's 80
# and 1.
CIRCLE_GAMMA, CIRCLE_WEIGHT = 16.0, 0.25
Loss = Callable[[Any, Any], Any]


def build_proxies(categories: int, embedding_size: int, seed: int) -> Any:
    """One trainable vector per category, float32 [categories, embedding_size]; not part of the network."""
    tf = tensorflow()
    return tf.Variable(
        tf.random.stateless_normal([categories, embedding_size], seed=[seed, 1]), name="proxies"
    )


def build_loss(hyperparameters: Hyperparameters, proxies: Any, pair_ramp: Any) -> Loss:
    """Build the loss of labels int64 [n] and embeddings float32 [n, d], a scalar.

    It is the proxy cross-entropy + `pair_weight` x `pair_ramp` x pair loss. A pair loss alone learns slowly,
    and collapses at high learning rates; the proxies prevent both.
    """
    pairs = pair_loss(hyperparameters.pair_loss)

    def loss(labels: Any, embeddings: Any) -> Any:
        proxy = proxy_cross_entropy(labels, embeddings, proxies, hyperparameters)
        return proxy + hyperparameters.pair_weight * pair_ramp * pairs(labels, embeddings) if pairs else proxy

    return loss


def pair_loss(name: str) -> Loss | None:
    """The loss over all pairs of a batch that `Hyperparameters.pair_loss` names; None for `none`.

    MultiSimilarity: X. Wang et al., CVPR 2019 (https://arxiv.org/abs/1904.06627); circle: Y. Sun et al., CVPR
    2020 (https://arxiv.org/abs/2002.10857); both as TF Similarity implements them.
    """
    losses = tensorflow_similarity().losses
    if name == "multi_similarity":
        return losses.MultiSimilarityLoss(distance="cosine")  # type: ignore[no-any-return]
    if name == "circle":
        circle = losses.CircleLoss(distance="cosine", gamma=CIRCLE_GAMMA)
        return lambda labels, embeddings: CIRCLE_WEIGHT * circle(labels, embeddings)
    return supervised_contrastive if name == "supcon" else None


def proxy_cross_entropy(labels: Any, embeddings: Any, proxies: Any, hyperparameters: Hyperparameters) -> Any:
    """Cross-entropy over the scaled cosines of `embeddings` to `proxies`, with margin and label smoothing.

    H. Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018
    (https://arxiv.org/abs/1801.09414).
    """
    tf = tensorflow()
    cosines = tf.matmul(embeddings, tf.math.l2_normalize(proxies, axis=1), transpose_b=True)
    targets = tf.one_hot(labels, proxies.shape[0])
    logits = hyperparameters.proxy_scale * (cosines - hyperparameters.proxy_margin * targets)
    return tf.reduce_mean(
        tf.keras.losses.categorical_crossentropy(targets, logits, from_logits=True, label_smoothing=SMOOTHING)
    )


def supervised_contrastive(labels: Any, embeddings: Any) -> Any:
    """Mean over images and their positives of -log(softmax over all other images), at temperature 0.1.

    P. Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020 (https://arxiv.org/abs/2004.11362),
    equation 2. An image without a positive in the batch counts as 0.
    """
    tf = tensorflow()
    diagonal = tf.eye(tf.shape(labels)[0])
    logits = tf.matmul(embeddings, embeddings, transpose_b=True) / TEMPERATURE
    log_softmax = logits - tf.reduce_logsumexp(logits - 1e9 * diagonal, axis=1, keepdims=True)
    positives = tf.cast(labels[:, None] == labels[None, :], tf.float32) - diagonal
    counts = tf.maximum(tf.reduce_sum(positives, axis=1), 1.0)
    return -tf.reduce_mean(tf.reduce_sum(positives * log_softmax, axis=1) / counts)
