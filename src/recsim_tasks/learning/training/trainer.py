"""One rank's copy of the network, and the steps that keep all copies equal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from recsim_tasks.arrays import Float32Array, Int64Array, UInt8Array
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.learning.model.losses import build_loss, build_proxies
from recsim_tasks.learning.model.network import build_network
from recsim_tasks.learning.spec import TrainingSpec
from recsim_tasks.learning.tensorflow_runtime import mixed_precision_policy, quiet_first_call, tensorflow
from recsim_tasks.learning.training.checkpoints import Arrays
from recsim_tasks.learning.training.communicator import Communicator
from recsim_tasks.learning.training.schedule import scale_learning_rate

EMBED_BATCH = 256


class Trainer:
    """The network, its proxies and its optimizer; every change of a weight is the mean over the ranks."""

    def __init__(self, spec: TrainingSpec, communicator: Communicator) -> None:
        tf = tensorflow()
        tf.keras.utils.set_random_seed(spec.seed)
        tf.keras.mixed_precision.set_global_policy(mixed_precision_policy())
        self.communicator = communicator
        self.network = build_network(
            spec.preprocessing, spec.embedding_size, spec.backbone, spec.backbone_weights
        )
        self.proxies = build_proxies(len(spec.categories), spec.embedding_size, spec.seed)
        self._pair_ramp = tf.Variable(0.0, trainable=False)
        self._loss = build_loss(spec.hyperparameters, self.proxies, self._pair_ramp)
        self._weights = [*self.network.trainable_variables, self.proxies]
        self._rate = tf.Variable(0.0, trainable=False)
        self._optimizer = tf.keras.optimizers.legacy.Adam(lambda: self._rate)
        self._optimizer._create_all_weights(self._weights)
        self.peak_rate = scale_learning_rate(
            spec.hyperparameters.learning_rate, spec.batch_size * communicator.size
        )
        pixels = tf.TensorSpec([None, *spec.preprocessing.shape], tf.uint8)
        labels = tf.TensorSpec([None], tf.int64)
        train_step = tf.function(self._train_step, input_signature=[pixels, labels])
        self._step = quiet_first_call(train_step.get_concrete_function())
        self._embed = tf.function(self._forward, input_signature=[pixels])
        communicator.broadcast(self._variables())

    def step(self, images: UInt8Array, labels: Int64Array, rate: float, pair_ramp: float) -> float:
        """Train on one batch, uint8 [n, h, w, c] and int64 [n]; returns the loss over all ranks' batches.

        `rate` is the learning rate, `pair_ramp` the factor of the pair loss.
        """
        tf = tensorflow()
        self._rate.assign(rate)
        self._pair_ramp.assign(pair_ramp)
        return float(self._step(tf.convert_to_tensor(images), tf.convert_to_tensor(labels)))

    def gradients(self, images: Any, labels: Any, *, training: bool = True) -> tuple[Any, Sequence[Any]]:
        """The loss over all ranks' batches, a scalar, and its gradient for each weight; equal on all ranks.

        With `training`, batch normalisation uses the statistics of this rank's own batch, else the running
        ones.
        """
        tf = tensorflow()
        with tf.GradientTape() as tape:
            embeddings = self.network(tf.cast(images, tf.float32), training=training)
            loss = self._loss(*self.communicator.all_gather_with_grad(labels, embeddings))
        return loss, self.communicator.all_reduce_mean(tape.gradient(loss, self._weights))

    def embed(self, images: UInt8Array) -> Float32Array:
        """Return unit vectors, float32 [n, d], of `images`, uint8 [n, h, w, c]."""
        parts = [
            self._embed(images[start : start + EMBED_BATCH]).numpy()
            for start in range(0, len(images), EMBED_BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.network.output_shape[-1]), np.float32)

    def sync_and_check_weights(self) -> str:
        """Average the statistics of batch normalisation over the ranks; returns the SHA-256 of the weights.

        Raises `RecsimError` unless all ranks have equal weights.
        """
        statistics = [
            variable for variable in self.network.non_trainable_variables if variable.dtype.is_floating
        ]
        means = self.communicator.all_reduce_mean(statistics)
        for variable, mean in zip(statistics, means, strict=True):
            variable.assign(mean)
        digests = set(self.communicator.all_gather_object(self._digest()))
        if len(digests) > 1:
            raise RecsimError(
                f"The ranks drifted apart: they have {len(digests)} different sets of weights. "
                "Nothing was written; run `recsim train` again."
            )
        return str(digests.pop())

    def state(self) -> Arrays:
        """Everything that a step uses or changes: weights, statistics, proxies, the optimizer's moments."""
        return {f"{number:05d}": variable.numpy() for number, variable in enumerate(self._variables())}

    def restore(self, arrays: Arrays | None) -> None:
        """Restore rank 0's `arrays`, from `state`, on all ranks; without them, rank 0's current state."""
        for variable, value in zip(self._variables(), arrays.values(), strict=True) if arrays else ():
            variable.assign(value)
        self.communicator.broadcast(self._variables())

    def _variables(self) -> list[Any]:
        return [*self.network.variables, self.proxies, *self._optimizer.variables()]

    def _forward(self, images: Any) -> Any:
        tf = tensorflow()
        return self.network(tf.cast(images, tf.float32), training=False)

    def _train_step(self, images: Any, labels: Any) -> Any:
        loss, gradients = self.gradients(images, labels)
        self._optimizer.apply_gradients(zip(gradients, self._weights, strict=True))
        return loss

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for variable in [*self.network.non_trainable_variables, *self._weights]:
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
        return digest.hexdigest()
