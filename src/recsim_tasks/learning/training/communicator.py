"""One rank's connection to all ranks that train one model together: through Horovod, or none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from recsim_tasks.arrays import AnyArray
from recsim_tasks.learning.devices import cpu_count
from recsim_tasks.learning.spec import Resources
from recsim_tasks.learning.tensorflow_runtime import tensorflow
from recsim_tasks.learning.training.shutdown import GracefulShutdown

# A rank that does not answer, alive or not, ends the training after this long.
SILENCE_SECONDS = 30


class Communicator(Protocol):
    """One rank's connection to all ranks."""

    rank: int
    size: int
    shutdown: GracefulShutdown

    def all_reduce_mean(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Return the mean over the ranks of each tensor; inside or outside a `tf.function`."""

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Assign rank 0's values on all ranks."""

    def all_gather_with_grad(self, labels: Any, embeddings: Any) -> tuple[Any, Any]:
        """Concatenate labels int64 [n] and embeddings float32 [n, d] of all ranks, inside a `tf.function`.

        Gradients flow back such that `all_reduce_mean` of all ranks' gradients is the gradient of a loss over
        the whole.
        """

    def all_gather(self, rows: AnyArray) -> AnyArray:
        """Concatenate the rows [n, ...] of all ranks."""

    def all_gather_object(self, value: Any) -> list[Any]:
        """List the value of each rank, in order."""


class SingleProcess:
    """The communicator of a training in one process."""

    rank, size = 0, 1

    def __init__(self) -> None:
        self.shutdown = GracefulShutdown()

    def all_reduce_mean(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Return the tensors unchanged."""
        return tensors

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Do nothing."""

    def all_gather_with_grad(self, labels: Any, embeddings: Any) -> tuple[Any, Any]:
        """Return labels and embeddings unchanged."""
        return labels, embeddings

    def all_gather(self, rows: AnyArray) -> AnyArray:
        """Return the rows unchanged."""
        return rows

    def all_gather_object(self, value: Any) -> list[Any]:
        """List the one value."""
        return [value]


class HorovodCommunicator:
    """The communicator of a rank of a Horovod job; the ranks on a machine share its processors."""

    def __init__(self, resources: Resources, shutdown: GracefulShutdown) -> None:
        os.environ["HOROVOD_GLOO_TIMEOUT_SECONDS"] = str(SILENCE_SECONDS)
        tf = tensorflow(gpus=resources.gpus, deterministic=resources.deterministic)
        import horovod.tensorflow as hvd

        hvd.init()
        tf.config.threading.set_intra_op_parallelism_threads(max(1, cpu_count() // hvd.local_size()))
        self._hvd, self.shutdown = hvd, shutdown
        self.rank, self.size = hvd.rank(), hvd.size()

    def all_reduce_mean(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Reduce all tensors in one exchange."""
        return self._hvd.grouped_allreduce(list(tensors), op=self._hvd.Average)  # type: ignore[no-any-return]

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Broadcast from rank 0."""
        self._hvd.broadcast_variables(list(variables), root_rank=0)

    def all_gather_with_grad(self, labels: Any, embeddings: Any) -> tuple[Any, Any]:
        """Gather the embeddings, each with its label and its rank, in one exchange.

        Every rank computes the same loss of the same rows, so that the gradient for its own rows needs no
        second exchange. That gradient is multiplied by the number of ranks, because `all_reduce_mean` divides
        by it. Horovod's own gradient of an all-gather would divide once more.
        """
        tf = tensorflow()
        size, rank = self.size, float(self.rank)
        tags = tf.stack([tf.cast(labels, tf.float32), tf.fill(tf.shape(labels), rank)], axis=1)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def gather(rows: Any) -> Any:
            gathered = self._hvd.allgather(rows)

            def backward(gradient: Any) -> Any:
                return gradient[gathered[:, -1] == rank] * float(size)

            return gathered, backward

        gathered = gather(tf.concat([embeddings, tags], axis=1))
        return tf.cast(gathered[:, -2], tf.int64), gathered[:, :-2]

    def all_gather(self, rows: AnyArray) -> AnyArray:
        """Concatenate along the first axis; ranks may differ in n."""
        return np.asarray(self._hvd.allgather(rows))

    def all_gather_object(self, value: Any) -> list[Any]:
        """Gather pickled values: between the ranks only, nothing is stored."""
        return list(self._hvd.allgather_object(value))
