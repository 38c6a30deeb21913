"""The ranks that train one model together. With `horovod_internals`, the only module that knows Horovod."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from recsim_tasks.arrays import AnyArray
from recsim_tasks.foundation.errors import ConfigurationError, RecsimError, UnavailableError
from recsim_tasks.foundation.settings import Settings, is_local
from recsim_tasks.learning.devices import acquire_device, cpu_count
from recsim_tasks.learning.spec import Resources, TrainingSpec
from recsim_tasks.learning.tensorflow_runtime import tensorflow
from recsim_tasks.learning.training.horovod_internals import LOOPBACK_INTERFACE, prepare
from recsim_tasks.learning.training.shutdown import GracefulShutdown

log = logging.getLogger(__name__)

START_SECONDS = 120
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

        Every rank computes the same loss of the same rows, so that its gradient by its own rows needs no
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


RankFunction = Callable[[Communicator, TrainingSpec], Any]


def run_on_ranks(settings: Settings, function: RankFunction, spec: TrainingSpec) -> Any:
    """Run `function(communicator, spec)` on `settings.ranks` ranks of one Spark job; returns rank 0's result.

    One rank needs neither Spark nor Horovod. A `RecsimError` that a rank raises is raised here; if a rank
    fails in any other way, all are ended and a `RecsimError` says so.
    """
    resources = spec.resources
    if settings.ranks == 1:
        with acquire_device(resources.home, gpus=resources.gpus, shares=1):
            tensorflow(cpu_count(), gpus=resources.gpus, deterministic=resources.deterministic)
            return function(SingleProcess(), spec)
    from recsim_tasks.foundation.spark import spark_session
    from recsim_tasks.foundation.spark_executors import slots

    with spark_session(settings, "recsim train") as spark:
        available = slots(spark, settings.spark_master, settings.ranks)
        _check_slots(settings.spark_master, settings.ranks, available)
        results = _launch(settings, function, spec)
    for result in results:
        if isinstance(result, RecsimError):
            raise result
    return results[0]


def _check_slots(master: str, ranks: int, available: int) -> None:
    """Too few slots are a wrong setting on this machine; a cluster's workers may be away or in use."""
    if available >= ranks:
        return
    sentence = (
        f"{ranks} ranks (RECSIM_RANKS) do not fit on the {available} slots of {master} (RECSIM_SPARK_MASTER)."
    )
    if is_local(master):
        raise ConfigurationError(f"{sentence} Lower RECSIM_RANKS, or give the master more slots.")
    raise UnavailableError(
        f"{sentence} Start its workers, free cores that other applications use, or lower RECSIM_RANKS."
    )


def _launch(settings: Settings, function: RankFunction, spec: TrainingSpec) -> list[Any]:
    import horovod.spark

    prepare(loopback=settings.is_local)
    try:
        # Without `stdout` and `stderr`: Horovod would pass on the ranks' lines only at the end. Now they go
        # to the log of Spark's workers at once, which with a local master is this job's.
        results: list[Any] = horovod.spark.run(
            _run_rank,
            args=(function, spec),
            num_proc=settings.ranks,
            use_gloo=True,
            use_mpi=False,
            nics={LOOPBACK_INTERFACE} if settings.is_local else None,
            start_timeout=START_SECONDS,
            verbose=0,
        )
    except Exception as error:  # Horovod raises plain Exception and RuntimeError
        raise RecsimError(
            f"The training ended early because a rank failed: {' '.join(str(error).split())} Its own message "
            "is further up in this log; a rank without a message was killed, mostly for lack of memory: "
            "lower RECSIM_RANKS or RECSIM_IMAGE_SIZE. Run `recsim train` again: it resumes from the "
            "last checkpoint."
        ) from error
    return results


def _run_rank(function: RankFunction, spec: TrainingSpec) -> Any:
    """Run in each rank's own process."""
    from horovod.spark.task import get_available_devices

    from recsim_tasks.foundation.logging import configure
    from recsim_tasks.foundation.processes import die_with, end_when_frozen

    configure()
    resources, shutdown = spec.resources, GracefulShutdown()
    die_with(os.getppid(), shutdown.request)
    end_when_frozen(SILENCE_SECONDS)
    try:
        with acquire_device(
            resources.home,
            gpus=resources.gpus,
            shares=resources.concurrency,
            assigned=tuple(get_available_devices()),
        ):
            return function(HorovodCommunicator(resources, shutdown), spec)
    except RecsimError as error:
        log.error("Rank %s ends: %s", os.environ.get("HOROVOD_RANK", "?"), error)
        return error
