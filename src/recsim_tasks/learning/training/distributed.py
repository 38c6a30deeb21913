"""Starts the ranks that train one model together, by Horovod on Spark."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from recsim_tasks.foundation.errors import ConfigurationError, RecsimError, UnavailableError
from recsim_tasks.foundation.settings import Settings, environment, is_local
from recsim_tasks.learning.devices import acquire_device, cpu_count
from recsim_tasks.learning.spec import TrainingSpec
from recsim_tasks.learning.tensorflow_runtime import tensorflow
from recsim_tasks.learning.training.communicator import (
    SILENCE_SECONDS,
    Communicator,
    HorovodCommunicator,
    SingleProcess,
)
from recsim_tasks.learning.training.horovod_internals import LOOPBACK_INTERFACE, prepare
from recsim_tasks.learning.training.shutdown import GracefulShutdown

log = logging.getLogger(__name__)

START_SECONDS = 120


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
    """Refuse too few slots: a wrong setting on this machine; a cluster's workers may be down or in use."""
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
            "is further up in this log; a rank without a message was killed, usually because memory ran out: "
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
        log.error("Rank %s ends: %s", environment().get("HOROVOD_RANK", "?"), error)
        return error
