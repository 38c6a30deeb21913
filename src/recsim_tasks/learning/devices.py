"""One device for each trial and each rank, held alone: what Airflow's pool cannot promise when a job outlives its task."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from recsim_tasks.foundation.errors import MissingError, RecsimError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import visible_gpus

WAIT_SECONDS = 30.0
DEVICES = Path("/dev")


@contextmanager
def device(home: Path, gpus: int, shares: int, given: tuple[str, ...] = ()) -> Iterator[str]:
    """Hold one GPU, or without `gpus` one of `shares` shares of the processors; yields CUDA's name, or the number.

    The process that computes holds it, so that the kernel frees it when that process ends, however it ends.
    A GPU that is held is the only one that TensorFlow, if it is not imported yet, will see. It is one of those
    that Spark has `given`, else one of `gpus_here`. Waits up to half a minute for one that a killed job still
    holds, then raises `RecsimError`; `MissingError` when `gpus` are asked for and there is none.
    """
    names = (given or gpus_here()) if gpus else tuple(map(str, range(shares)))
    with ExitStack() as held:
        name = _take(held, home, "GPU" if gpus else "processor share", names)
        if gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = name
        yield name


def gpus_here() -> tuple[str, ...]:
    """The GPUs that this process may use, as CUDA names them.

    They are those that Spark gave its task, else those of CUDA_VISIBLE_DEVICES, else all of the machine.
    """
    names = _spark_gpus() or visible_gpus()
    if names is None:
        names = tuple(str(number) for number, _ in enumerate(DEVICES.glob("nvidia[0-9]*")))
    if not names:
        hidden = "CUDA_VISIBLE_DEVICES hides all" if visible_gpus() is not None else f"no {DEVICES}/nvidia0"
        raise MissingError(
            f"RECSIM_GPUS asks for a GPU, but {socket.gethostname()} has none ({hidden}). "
            "Run on a machine with one, or set RECSIM_GPUS to 0."
        )
    return names


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def _take(held: ExitStack, home: Path, kind: str, names: Sequence[str]) -> str:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        for name in names:
            try:
                held.enter_context(lease(home, f"{kind} {name} of {socket.gethostname()}", timeout=0))
            except RecsimError as error:
                refused = error
            else:
                return name
        if time.monotonic() > deadline:
            raise RecsimError(
                f"No {kind} of the {len(names)} on this machine is free. The last: {refused}"
            ) from refused
        time.sleep(0.2)


def _spark_gpus() -> tuple[str, ...] | None:
    """The addresses that Spark gave the task of this process; None outside a task, and without GPUs in Spark."""
    spark = sys.modules.get("pyspark")
    task = spark.TaskContext.get() if spark else None
    return tuple(task.resources()["gpu"].addresses) if task and "gpu" in task.resources() else None
