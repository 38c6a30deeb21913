"""One rank's copy of the network, and the steps that move all copies alike."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from recsim_tasks.arrays import Float32Array, Int64Array, UInt8Array
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.learning.model.losses import build_loss, build_proxies
from recsim_tasks.learning.model.network import build_network
from recsim_tasks.learning.spec import Job
from recsim_tasks.learning.tensorflow_runtime import fastest_precision, tensorflow
from recsim_tasks.learning.training.checkpoints import Arrays
from recsim_tasks.learning.training.distributed import Ranks
from recsim_tasks.learning.training.schedule import scaled

EMBED_BATCH = 256


class Trainer:
    """The network, its proxies and its optimiser; every change of a weight is the average over the ranks."""

    def __init__(self, job: Job, ranks: Ranks) -> None:
        tf = tensorflow()
        tf.keras.utils.set_random_seed(job.seed)
        tf.keras.mixed_precision.set_global_policy(fastest_precision())
        self.ranks = ranks
        self.network = build_network(job.preprocessing, job.embedding_size, job.backbone, job.weights)
        self.proxies = build_proxies(len(job.categories), job.embedding_size, job.seed)
        self._pair_share = tf.Variable(0.0, trainable=False)
        self._loss = build_loss(job.parameters, self.proxies, self._pair_share)
        self._weights = [*self.network.trainable_variables, self.proxies]
        self._rate = tf.Variable(0.0, trainable=False)
        self._optimizer = tf.keras.optimizers.legacy.Adam(lambda: self._rate)
        self._optimizer._create_all_weights(self._weights)
        self.peak_rate = scaled(job.parameters.learning_rate, job.batch * ranks.size)
        pixels, labels = (
            tf.TensorSpec([None, *job.preprocessing.shape], tf.uint8),
            tf.TensorSpec([None], tf.int64),
        )
        self._step = tf.function(self._learn, input_signature=[pixels, labels]).get_concrete_function()
        self._embed = tf.function(self._look, input_signature=[pixels])
        ranks.share_first(self._state())

    def step(self, images: UInt8Array, labels: Int64Array, rate: float, pair_share: float) -> float:
        """Learn from one batch, uint8 [n, h, w, c], at learning rate `rate`, the pair loss weighed by `pair_share`; returns the loss of all ranks' batches together."""
        tf = tensorflow()
        self._rate.assign(rate)
        self._pair_share.assign(pair_share)
        return float(self._step(tf.convert_to_tensor(images), tf.convert_to_tensor(labels)))

    def gradients(self, images: Any, labels: Any, training: bool = True) -> tuple[Any, Sequence[Any]]:
        """Loss of all ranks' batches together, a scalar, and its gradient by each weight, the same on all ranks.

        In `training` batch normalisation takes the statistics of this rank's own batch, else the running ones.
        """
        tf = tensorflow()
        with tf.GradientTape() as tape:
            loss = self._loss(
                *self.ranks.pool(labels, self.network(tf.cast(images, tf.float32), training=training))
            )
        return loss, self.ranks.average(tape.gradient(loss, self._weights))

    def embed(self, images: UInt8Array) -> Float32Array:
        """Return unit vectors float32 [n, d] of uint8 images [n, h, w, c]."""
        parts = [
            self._embed(images[start : start + EMBED_BATCH]).numpy()
            for start in range(0, len(images), EMBED_BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.network.output_shape[-1]), np.float32)

    def agree(self) -> str:
        """Average what batch normalisation has seen, then make sure that all ranks hold the same weights; their SHA-256."""
        statistics = [
            variable for variable in self.network.non_trainable_variables if variable.dtype.is_floating
        ]
        for variable, mean in zip(statistics, self.ranks.average(statistics), strict=True):
            variable.assign(mean)
        digests = self.ranks.collect(self._digest())
        if len(set(digests)) > 1:
            raise RecsimError(
                f"The ranks drifted apart: they hold {len(set(digests))} different sets of weights. Nothing was written; run `recsim train` again."
            )
        return str(digests[0])

    def state(self) -> Arrays:
        """Everything that a step depends on or changes: weights, statistics, proxies, the optimiser's moments."""
        return {f"{number:05d}": variable.numpy() for number, variable in enumerate(self._state())}

    def restore(self, arrays: Arrays | None) -> None:
        """Put rank 0's `arrays`, which `state` gave, back on all ranks."""
        for variable, value in zip(self._state(), arrays.values(), strict=True) if arrays else ():
            variable.assign(value)
        self.ranks.share_first(self._state())

    def _state(self) -> list[Any]:
        return [*self.network.variables, self.proxies, *self._optimizer.variables()]

    def _look(self, images: Any) -> Any:
        tf = tensorflow()
        return self.network(tf.cast(images, tf.float32), training=False)

    def _learn(self, images: Any, labels: Any) -> Any:
        loss, gradients = self.gradients(images, labels)
        self._optimizer.apply_gradients(zip(gradients, self._weights, strict=True))
        return loss

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for variable in [*self.network.non_trainable_variables, *self._weights]:
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
        return digest.hexdigest()
