"""The ranks that train one model together. The only module that knows Horovod."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from recsim_tasks.arrays import AnyArray
from recsim_tasks.foundation.errors import ConfigurationError, RecsimError, UnavailableError
from recsim_tasks.foundation.settings import Settings, is_local
from recsim_tasks.learning.devices import device, processors
from recsim_tasks.learning.spec import Job, Machine
from recsim_tasks.learning.tensorflow_runtime import tensorflow
from recsim_tasks.learning.training.loopback import INTERFACE, bind_here, bind_in_tasks
from recsim_tasks.learning.training.shutdown import Ending

log = logging.getLogger(__name__)

START_SECONDS = 120
# A rank that answers no more, alive or not, ends the training after this long.
SILENCE_SECONDS = 30


class Ranks(Protocol):
    """One rank's view of all of them."""

    rank: int
    size: int
    ending: Ending

    def average(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Return the mean over the ranks of each tensor; inside or outside a `tf.function`."""

    def share_first(self, variables: Sequence[Any]) -> None:
        """Give every rank the values that rank 0 has."""

    def pool(self, labels: Any, embeddings: Any) -> tuple[Any, Any]:
        """Put labels int64 [n] and embeddings float32 [n, d] of all ranks one below the other, inside a `tf.function`.

        Gradients flow back, such that what `average` makes of all ranks' is the gradient of a loss over the whole.
        """

    def gather(self, rows: AnyArray) -> AnyArray:
        """Put the rows [n, ...] of all ranks, one below the other."""

    def collect(self, value: Any) -> list[Any]:
        """List the value of each rank, in order."""


class Alone:
    """A training of one process."""

    rank, size = 0, 1

    def __init__(self) -> None:
        self.ending = Ending()

    def average(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Return the tensors as they are."""
        return tensors

    def share_first(self, variables: Sequence[Any]) -> None:
        """Nothing to do."""

    def pool(self, labels: Any, embeddings: Any) -> tuple[Any, Any]:
        """Return labels and embeddings as they are."""
        return labels, embeddings

    def gather(self, rows: AnyArray) -> AnyArray:
        """Return the rows as they are."""
        return rows

    def collect(self, value: Any) -> list[Any]:
        """List the one value."""
        return [value]


class HorovodRanks:
    """The ranks of a Horovod job, connected; the processors of a machine are shared out among its ranks."""

    def __init__(self, machine: Machine, ending: Ending) -> None:
        os.environ["HOROVOD_GLOO_TIMEOUT_SECONDS"] = str(SILENCE_SECONDS)
        tf = tensorflow(gpus=machine.gpus, deterministic=machine.deterministic)
        import horovod.tensorflow as hvd

        hvd.init()
        tf.config.threading.set_intra_op_parallelism_threads(max(1, processors() // hvd.local_size()))
        self._hvd, self.ending = hvd, ending
        self.rank, self.size = hvd.rank(), hvd.size()

    def average(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """All tensors in one all-reduce."""
        return self._hvd.grouped_allreduce(list(tensors), op=self._hvd.Average)  # type: ignore[no-any-return]

    def share_first(self, variables: Sequence[Any]) -> None:
        """Broadcast from rank 0."""
        self._hvd.broadcast_variables(list(variables), root_rank=0)

    def pool(self, labels: Any, embeddings: Any) -> tuple[Any, Any]:
        """One all-gather of embeddings, each with its label and its rank.

        Every rank computes the same loss of the same rows, so that its gradient by its own rows needs no second exchange. It is given
        times the number of ranks, because `average` divides by it. Horovod's own gradient of an all-gather divides once more.
        """
        tf = tensorflow()
        size, rank = self.size, self.rank
        told = tf.stack([tf.cast(labels, tf.float32), tf.fill(tf.shape(labels), float(rank))], axis=1)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def pooled(rows: Any) -> Any:
            everyone = self._hvd.allgather(rows)

            def back(gradient: Any) -> Any:
                return gradient[everyone[:, -1] == float(rank)] * float(size)

            return everyone, back

        everyone = pooled(tf.concat([embeddings, told], axis=1))
        return tf.cast(everyone[:, -2], tf.int64), everyone[:, :-2]

    def gather(self, rows: AnyArray) -> AnyArray:
        """All-gather along the first axis; ranks may differ in n."""
        return np.asarray(self._hvd.allgather(rows))

    def collect(self, value: Any) -> list[Any]:
        """All-gather of pickled values: between the ranks only, nothing is stored."""
        return list(self._hvd.allgather_object(value))


def on_ranks(settings: Settings, work: Callable[[Ranks, Any], Any], job: Job) -> Any:
    """Run `work(ranks, job)` on `settings.ranks` ranks as tasks of one Spark job, and return what rank 0 returned.

    One rank needs neither Spark nor Horovod. A `RecsimError` that all ranks raise alike is raised here; if a rank fails in any other
    way, all are ended and a `RecsimError` says so.
    """
    if settings.ranks == 1:
        with device(job.machine.home, job.machine.gpus, 1):
            tensorflow(processors(), job.machine.gpus, job.machine.deterministic)
            return work(Alone(), job)
    from recsim_tasks.foundation.spark import spark_session
    from recsim_tasks.foundation.spark_executors import slots

    with spark_session(settings, "recsim train") as spark:
        _check_slots(
            settings.spark_master, settings.ranks, slots(spark, settings.spark_master, settings.ranks)
        )
        outcomes = _launch(settings, work, job)
    for outcome in outcomes:
        if isinstance(outcome, RecsimError):
            raise outcome
    return outcomes[0]


def _check_slots(master: str, ranks: int, found: int) -> None:
    """What does not fit on this machine never will; on a cluster, workers may be away and cores be taken."""
    if found >= ranks:
        return
    sentence = (
        f"{ranks} ranks (RECSIM_RANKS) do not fit on the {found} slots of {master} (RECSIM_SPARK_MASTER)."
    )
    if is_local(master):
        raise ConfigurationError(f"{sentence} Lower the one or raise the other.")
    raise UnavailableError(
        f"{sentence} Start its workers, free cores that other applications hold, or lower RECSIM_RANKS."
    )


def _launch(settings: Settings, work: Callable[[Ranks, Any], Any], job: Job) -> list[Any]:
    import horovod.runner.launch
    import horovod.spark

    # Neither stdout nor stderr is asked for: Horovod would hand them on only at the end. As it is, the ranks write to Spark's log, at once,
    # which on a local master is ours.
    # Horovod would import TensorFlow in a fork of this process, 5 s, only to ask whether it was built with Gloo. It was: see pyproject.toml.
    horovod.runner.launch.gloo_built = lambda **_: True
    if settings.is_local:
        bind_here()
        bind_in_tasks()
    nics = {INTERFACE} if settings.is_local else None
    try:
        outcomes: list[Any] = horovod.spark.run(
            _rank,
            args=(work, job),
            num_proc=settings.ranks,
            use_gloo=True,
            use_mpi=False,
            nics=nics,
            start_timeout=START_SECONDS,
            verbose=0,
        )
    except Exception as error:  # Horovod raises plain Exception and RuntimeError
        raise RecsimError(
            f"Training ended early, a rank failed: {' '.join(str(error).split())} Its own message stands further up in this log; "
            "one without a message was killed, mostly for memory: lower RECSIM_RANKS or RECSIM_IMAGE_SIZE. Run `recsim train` again: it goes on from the last checkpoint."
        ) from error
    return outcomes


def _rank(work: Callable[[Ranks, Any], Any], job: Job) -> Any:
    """Run in each rank's own process."""
    from horovod.spark.task import get_available_devices

    from recsim_tasks.foundation.logging import configure
    from recsim_tasks.foundation.processes import die_with, end_when_frozen

    configure()
    ending = Ending()
    die_with(os.getppid(), ending.farewell)
    end_when_frozen(SILENCE_SECONDS)
    try:
        with device(job.machine.home, job.machine.gpus, job.machine.at_once, tuple(get_available_devices())):
            return work(HorovodRanks(job.machine, ending), job)
    except RecsimError as error:
        log.info(f"A rank of the training ends: {error}")
        return error
