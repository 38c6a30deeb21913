"""The ranks that train one model together. The only module that knows Horovod."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recsim_tasks.foundation.errors import ConfigurationError, RecsimError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.backend import tensorflow

START_SECONDS = 120


class Ranks(Protocol):
    """One rank's view of all of them."""

    rank: int
    size: int

    def average(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Return the mean over the ranks of each tensor; inside or outside a `tf.function`."""

    def share_first(self, variables: Sequence[Any]) -> None:
        """Give every rank the values that rank 0 has."""

    def gather(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Put the rows [n, ...] of all ranks, one below the other."""

    def collect(self, value: Any) -> list[Any]:
        """List the value of each rank, in order."""


class Alone:
    """A training of one process."""

    rank, size = 0, 1

    def average(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Return the tensors as they are."""
        return tensors

    def share_first(self, variables: Sequence[Any]) -> None:
        """Nothing to do."""

    def gather(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the rows as they are."""
        return rows

    def collect(self, value: Any) -> list[Any]:
        """List the one value."""
        return [value]


class HorovodRanks:
    """The ranks of a Horovod job, connected; one GPU each where there are `gpus` on a machine."""

    def __init__(self, gpus: int) -> None:
        tf = tensorflow(gpus=gpus)
        import horovod.tensorflow as hvd

        hvd.init()
        if gpus:
            tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[hvd.local_rank() % gpus], "GPU")
        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()

    def average(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """All tensors in one all-reduce."""
        return self._hvd.grouped_allreduce(list(tensors), op=self._hvd.Average)  # type: ignore[no-any-return]

    def share_first(self, variables: Sequence[Any]) -> None:
        """Broadcast from rank 0."""
        self._hvd.broadcast_variables(list(variables), root_rank=0)

    def gather(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """All-gather along the first axis; ranks may differ in n."""
        return np.asarray(self._hvd.allgather(rows))

    def collect(self, value: Any) -> list[Any]:
        """All-gather of pickled values: between the ranks only, nothing is stored."""
        return list(self._hvd.allgather_object(value))


def on_ranks(settings: Settings, work: Callable[[Ranks, Any], Any], job: Any) -> Any:
    """Run `work(ranks, job)` on `settings.ranks` ranks as tasks of one Spark job, and return what rank 0 returned.

    One rank needs neither Spark nor Horovod. A `RecsimError` that all ranks raise alike is raised here; if a rank fails in any other
    way, all are ended and a `RecsimError` says so.
    """
    if settings.ranks == 1:
        return work(Alone(), job)
    from recsim_tasks.catalogue.spark import spark_session

    with spark_session(settings, "recsim train") as spark:
        slots = spark.sparkContext.defaultParallelism
        if slots < settings.ranks:
            raise ConfigurationError(
                f"{settings.ranks} ranks (RECSIM_RANKS) do not fit on the {slots} slots of {settings.spark_master} (RECSIM_SPARK_MASTER). Lower the one or raise the other."
            )
        outcomes = _launch(settings, work, job)
    for outcome in outcomes:
        if isinstance(outcome, RecsimError):
            raise outcome
    return outcomes[0]


def _launch(settings: Settings, work: Callable[[Ranks, Any], Any], job: Any) -> list[Any]:
    import horovod.runner.launch
    import horovod.spark

    # Neither stdout nor stderr is asked for: Horovod would hand them on only at the end. As it is, the ranks write to Spark's log, at once,
    # which on a local master is ours.
    # Horovod would import TensorFlow in a fork of this process, 5 s, only to ask whether it was built with Gloo. It was: see pyproject.toml.
    horovod.runner.launch.gloo_built = lambda **_: True
    try:
        outcomes: list[Any] = horovod.spark.run(
            _rank, args=(work, job, settings.gpus), num_proc=settings.ranks, use_gloo=True, use_mpi=False,
            start_timeout=START_SECONDS, verbose=0,
        )  # fmt: skip
    except Exception as error:  # Horovod raises plain Exception and RuntimeError
        raise RecsimError(
            f"Training ended early, a rank failed: {' '.join(str(error).split())} Its own message stands further up in this log; run `recsim train` again."
        ) from error
    return outcomes


def _rank(work: Callable[[Ranks, Any], Any], job: Any, gpus: int) -> Any:
    """Run in each rank's own process."""
    from recsim_tasks.foundation.processes import die_with

    die_with(os.getppid())
    try:
        return work(HorovodRanks(gpus), job)
    except RecsimError as error:
        return error
