"""Environment variables that are not settings: those of CUDA, Prometheus and the parent process."""

from __future__ import annotations

import os
import re
from itertools import takewhile
from pathlib import Path

# The Prometheus client reads it when it is imported, and then keeps the metrics of several processes there.
METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"
PARENT_PID = "RECSIM_PARENT_PID"


def visible_gpus() -> tuple[str, ...] | None:
    """The GPUs of CUDA_VISIBLE_DEVICES: numbers, UUIDs or MIG names; None if the variable is not set.

    As CUDA reads it, the list ends at the first entry that names no GPU, so that `-1` hides all.
    """
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = (value or "").replace(" ", "").split(",")
    return None if value is None else tuple(takewhile(re.compile(r"\d+|GPU-.+|MIG-.+").fullmatch, names))


def environment(**changes: str) -> dict[str, str]:
    """The environment of this process with `changes`, for a child process."""
    return {**os.environ, **changes}


def parent_pid() -> int | None:
    """The process whose end must end this job, as the process that started it says."""
    value = os.environ.get(PARENT_PID)
    return int(value) if value else None


def set_metrics_dir(folder: Path) -> None:
    """Keep the Prometheus metrics of this process and its children in `folder`."""
    os.environ[METRICS_DIR] = str(folder)


def metrics_dir() -> Path:
    """The folder that `set_metrics_dir` was called with."""
    return Path(os.environ[METRICS_DIR])
