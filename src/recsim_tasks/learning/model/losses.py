"""What training minimises: images of one category close to each other and to their category's proxy, others apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recsim_tasks.learning.hyperparameters import Parameters
from recsim_tasks.learning.tensorflow_runtime import tensorflow

SMOOTHING = 0.1
TEMPERATURE = 0.1
# The loss grows with its scale, and would leave the proxies no say: both are smaller than TF Similarity's 80 and 1.
CIRCLE_GAMMA, CIRCLE_WEIGHT = 16.0, 0.25
Loss = Callable[[Any, Any], Any]


def build_proxies(categories: int, embedding_size: int, seed: int) -> Any:
    """One trainable vector a category, float32 [categories, embedding_size]; used in training only, not part of the network."""
    tf = tensorflow()
    return tf.Variable(
        tf.random.stateless_normal([categories, embedding_size], seed=[seed, 1]), name="proxies"
    )


def build_loss(parameters: Parameters, proxies: Any, pair_share: Any) -> Loss:
    """Build the loss of labels int64 [n] and embeddings float32 [n, d], a scalar: proxy cross-entropy + `pair_weight` x `pair_share` x pair loss.

    A pair loss alone learns slowly, and at high rates it collapses; the proxies prevent both.
    """
    pairs = pair_loss(parameters.pair_loss)

    def loss(labels: Any, embeddings: Any) -> Any:
        proxy = proxy_cross_entropy(labels, embeddings, proxies, parameters)
        return proxy + parameters.pair_weight * pair_share * pairs(labels, embeddings) if pairs else proxy

    return loss


def pair_loss(name: str) -> Loss | None:
    """The loss over all pairs of a batch that `Parameters.pair_loss` names.

    MultiSimilarity: X. Wang et al., CVPR 2019 (https://arxiv.org/abs/1904.06627); circle: Y. Sun et al., CVPR 2020
    (https://arxiv.org/abs/2002.10857); both as TF Similarity has them.
    """
    from tensorflow_similarity.losses import CircleLoss, MultiSimilarityLoss

    if name == "multi_similarity":
        return MultiSimilarityLoss(distance="cosine")  # type: ignore[no-any-return]
    if name == "circle":
        circle = CircleLoss(distance="cosine", gamma=CIRCLE_GAMMA)
        return lambda labels, embeddings: CIRCLE_WEIGHT * circle(labels, embeddings)
    return supervised_contrastive if name == "supcon" else None


def proxy_cross_entropy(labels: Any, embeddings: Any, proxies: Any, parameters: Parameters) -> Any:
    """Cross-entropy over the scaled cosines of `embeddings` to all `proxies`, a margin taken off the right one, labels smoothed.

    H. Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018 (https://arxiv.org/abs/1801.09414).
    """
    tf = tensorflow()
    cosines = tf.matmul(embeddings, tf.math.l2_normalize(proxies, axis=1), transpose_b=True)
    right = tf.one_hot(labels, proxies.shape[0])
    logits = parameters.proxy_scale * (cosines - parameters.proxy_margin * right)
    return tf.reduce_mean(
        tf.keras.losses.categorical_crossentropy(right, logits, from_logits=True, label_smoothing=SMOOTHING)
    )


def supervised_contrastive(labels: Any, embeddings: Any) -> Any:
    """Mean over images of the mean over their partners of -log(share of the partner among all others), at temperature 0.1.

    P. Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020 (https://arxiv.org/abs/2004.11362), equation 2. An image without a
    partner in the batch counts as 0.
    """
    tf = tensorflow()
    own = tf.eye(tf.shape(labels)[0])
    scores = tf.matmul(embeddings, embeddings, transpose_b=True) / TEMPERATURE
    shares = scores - tf.reduce_logsumexp(scores - 1e9 * own, axis=1, keepdims=True)
    partners = tf.cast(labels[:, None] == labels[None, :], tf.float32) - own
    return -tf.reduce_mean(
        tf.reduce_sum(partners * shares, axis=1) / tf.maximum(tf.reduce_sum(partners, axis=1), 1.0)
    )
