"""Leases one device to each trial and rank: Airflow's pool cannot, since a job may outlive its task."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from recsim_tasks.foundation.errors import ConfigurationError, MissingError, RecsimError, UnavailableError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import visible_gpus

WAIT_SECONDS = 30.0
DEVICES = Path("/dev")


@contextmanager
def acquire_device(home: Path, *, gpus: int, shares: int, assigned: tuple[str, ...] = ()) -> Iterator[str]:
    """Lease one GPU or, without `gpus`, one of `shares` shares of the processors; yields its name.

    The process that computes takes the lease, so that the kernel frees it when that process ends, however it
    ends. TensorFlow, if it is not imported yet, will see no other GPU. The GPU is one of those that Spark has
    `assigned`, else one of `local_gpus`. Waits up to half a minute for a device that a killed job still has,
    then raises `UnavailableError`; raises `MissingError` when `gpus` are requested and the machine has none.
    """
    names = (assigned or local_gpus()) if gpus else tuple(map(str, range(shares)))
    with ExitStack() as leases:
        name = _acquire(leases, home, "GPU" if gpus else "processor share", names)
        if gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = name
        yield name


def local_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, as CUDA names them.

    They are those that Spark assigned to its task, else those of CUDA_VISIBLE_DEVICES, else all of the
    machine.
    """
    names = _gpus_of_spark_task() or visible_gpus()
    if names is None:
        names = tuple(str(number) for number, _ in enumerate(DEVICES.glob("nvidia[0-9]*")))
    if not names:
        hidden = "CUDA_VISIBLE_DEVICES hides all" if visible_gpus() is not None else f"no {DEVICES}/nvidia0"
        raise MissingError(
            f"RECSIM_GPUS asks for a GPU, but {socket.gethostname()} has none ({hidden}). "
            "Run on a machine with one, or set RECSIM_GPUS to 0."
        )
    return names


def cpu_count() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def _acquire(leases: ExitStack, home: Path, kind: str, names: Sequence[str]) -> str:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        for name in names:
            try:
                leases.enter_context(lease(home, f"{kind} {name} of {socket.gethostname()}", timeout=0))
            except ConfigurationError:
                raise
            except RecsimError as error:
                refusal = error
            else:
                return name
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"None of the {len(names)} {kind}s of this machine is free. {refusal}"
            ) from refusal
        time.sleep(0.2)


def _gpus_of_spark_task() -> tuple[str, ...] | None:
    """The GPUs that Spark assigned to this process's task; None outside a task and if Spark has no GPUs."""
    spark = sys.modules.get("pyspark")
    task = spark.TaskContext.get() if spark else None
    return tuple(task.resources()["gpu"].addresses) if task and "gpu" in task.resources() else None
