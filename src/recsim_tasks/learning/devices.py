"""One device for each trial and each rank, held alone: what Airflow's pool cannot promise when a job outlives its task."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from recsim_tasks.foundation.errors import MissingError, RecsimError
from recsim_tasks.foundation.leases import lease

WAIT_SECONDS = 30.0
DEVICES = Path("/dev")


@contextmanager
def device(home: Path, gpus: int, shares: int) -> Iterator[int]:
    """Hold one GPU of this machine, or without `gpus` one of `shares` shares of its processors; yields its number.

    The process that computes holds it, so that the kernel frees it when that process ends, however it ends. A GPU that is held is
    the only one that TensorFlow, if it is not imported yet, will see. Waits up to half a minute for one that the leavings of a killed
    job still hold, then raises `RecsimError`; `MissingError` when `gpus` are asked for and the machine has none.
    """
    numbers = range(_gpus_here() if gpus else shares)
    with ExitStack() as held:
        number = _take(held, home, "GPU" if gpus else "processor share", numbers)
        if gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = str(number)
        yield number


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def _take(held: ExitStack, home: Path, kind: str, numbers: range) -> int:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        for number in numbers:
            try:
                held.enter_context(lease(home, f"{kind} {number} of {socket.gethostname()}", timeout=0))
            except RecsimError as error:
                refused = error
            else:
                return number
        if time.monotonic() > deadline:
            raise RecsimError(f"No {kind} of the {len(numbers)} on this machine is free. The last: {refused}") from refused
        time.sleep(0.2)


def _gpus_here() -> int:
    found = len(list(DEVICES.glob("nvidia[0-9]*")))
    if not found:
        raise MissingError(
            f"RECSIM_GPUS asks for a GPU, but {socket.gethostname()} has none (no {DEVICES}/nvidia0). Run on a machine with one, or set RECSIM_GPUS to 0."
        )
    return found
