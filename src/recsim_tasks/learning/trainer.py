"""One rank's copy of the network, and the steps that move all copies alike."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.learning.backend import tensorflow
from recsim_tasks.learning.job import Job
from recsim_tasks.learning.losses import build_loss, build_proxies
from recsim_tasks.learning.network import build_network
from recsim_tasks.learning.preprocessing import Pixels
from recsim_tasks.learning.ranks import Ranks
from recsim_tasks.learning.schedule import scaled

EMBED_BATCH = 256


class Trainer:
    """The network, its proxies and its optimiser; every change of a weight is the average over the ranks."""

    def __init__(self, job: Job, ranks: Ranks) -> None:
        tf = tensorflow()
        tf.keras.utils.set_random_seed(job.seed)
        self.ranks = ranks
        self.network = build_network(job.preprocessing, job.embedding_size)
        proxies = build_proxies(len(job.categories), job.embedding_size, job.seed)
        self._pair_share = tf.Variable(0.0, trainable=False)
        self._loss = build_loss(job.parameters, proxies, self._pair_share)
        self._weights = [*self.network.trainable_variables, proxies]
        self._rate = tf.Variable(0.0, trainable=False)
        self._optimizer = tf.keras.optimizers.legacy.Adam(lambda: self._rate)
        self.peak_rate = scaled(job.parameters.learning_rate, job.batch * ranks.size)
        pixels, labels = tf.TensorSpec([None, *job.preprocessing.shape], tf.uint8), tf.TensorSpec([None], tf.int64)
        self._step = tf.function(self._learn, input_signature=[pixels, labels]).get_concrete_function()
        self._embed = tf.function(self._look, input_signature=[pixels])
        ranks.share_first([*self.network.variables, proxies])

    def step(self, images: Pixels, labels: npt.NDArray[np.int64], rate: float, pair_share: float) -> float:
        """Learn from one batch at learning rate `rate`, the pair loss weighed by `pair_share`; returns this rank's loss."""
        tf = tensorflow()
        self._rate.assign(rate)
        self._pair_share.assign(pair_share)
        return float(self._step(tf.constant(images), tf.constant(labels)))

    def embed(self, images: Pixels) -> npt.NDArray[np.float32]:
        """Return unit vectors [n, d] of uint8 images [n, h, w, c]."""
        parts = [self._embed(images[start : start + EMBED_BATCH]).numpy() for start in range(0, len(images), EMBED_BATCH)]
        return np.concatenate(parts) if parts else np.empty((0, self.network.output_shape[-1]), np.float32)

    def agree(self) -> str:
        """Average what batch normalisation has seen, then make sure that all ranks hold the same weights; their SHA-256."""
        statistics = self.network.non_trainable_variables
        for variable, mean in zip(statistics, self.ranks.average(statistics), strict=True):
            variable.assign(mean)
        digests = self.ranks.collect(self._digest())
        if len(set(digests)) > 1:
            raise RecsimError(
                f"The ranks drifted apart: they hold {len(set(digests))} different sets of weights. Nothing was written; run `recsim train` again."
            )
        return str(digests[0])

    def _look(self, images: Any) -> Any:
        tf = tensorflow()
        return self.network(tf.cast(images, tf.float32), training=False)

    def _learn(self, images: Any, labels: Any) -> Any:
        tf = tensorflow()
        with tf.GradientTape() as tape:
            loss = self._loss(labels, self.network(tf.cast(images, tf.float32), training=True))
        gradients = self.ranks.average(tape.gradient(loss, self._weights))
        self._optimizer.apply_gradients(zip(gradients, self._weights, strict=True))
        return loss

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for variable in [*self.network.non_trainable_variables, *self._weights]:
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
        return digest.hexdigest()
