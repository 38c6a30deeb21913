"""The GPUs of this machine: which ones are visible, and how many TensorFlow can use."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

from recsim_tasks.foundation.errors import MissingError
from recsim_tasks.foundation.settings import Settings, environment, visible_gpus

ASK = """
import json, tensorflow as tf
print(json.dumps([len(tf.config.list_physical_devices("GPU")), tf.test.is_built_with_cuda()]))
"""
ASK_SECONDS = 120
# TensorFlow logs one of these when it cannot use a GPU; the most specific is first.
REASONS = (
    "Could not load dynamic library",
    "Cannot dlopen",
    "failed call to cuInit",
    "Could not find cuda drivers",
    "Skipping registering",
)
REMEDY = "Install a TensorFlow with CUDA (docs/learning.md), or lower RECSIM_GPUS; 0 trains on CPUs."
CPU_ONLY = "The installed TensorFlow is built for CPUs only (tensorflow-cpu)"


@dataclass(frozen=True)
class UsableGpus:
    """How many GPUs TensorFlow can use on this machine, and why not more, as far as it says."""

    count: int
    reason: str


@cache
def ask_tensorflow() -> UsableGpus:
    """Ask TensorFlow in a child process, which takes 5 s: an import here would initialise it for good."""
    command, verbose = [sys.executable, "-c", ASK], environment(TF_CPP_MIN_LOG_LEVEL="0")
    try:
        done = subprocess.run(
            command, env=verbose, capture_output=True, text=True, timeout=ASK_SECONDS, check=False
        )
        count, built_with_cuda = json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        return UsableGpus(0, f"TensorFlow cannot be imported ({error})")
    return UsableGpus(count, reason(done.stderr) if built_with_cuda else CPU_ONLY)


def check_gpus(settings: Settings) -> None:
    """Raise `MissingError` when TensorFlow can use fewer GPUs than `settings.gpus` here.

    On a cluster the executors have the GPUs: each rank and each trial checks its own when it starts.
    """
    if settings.gpus and settings.is_local and (usable := ask_tensorflow()).count < settings.gpus:
        raise MissingError(missing(settings.gpus, usable))


def missing(wanted: int, usable: UsableGpus) -> str:
    """The sentence that TensorFlow uses fewer GPUs than wanted, with the cause and the remedy."""
    return f"{shortage(wanted, usable)}. {REMEDY}"


def shortage(wanted: int, usable: UsableGpus) -> str:
    """The sentence that TensorFlow uses fewer GPUs than wanted, with the cause."""
    names = visible_gpus()
    visible = "" if names is None else f" (CUDA_VISIBLE_DEVICES leaves {', '.join(names) or 'none'})"
    return (
        f"{wanted} {'GPU is' if wanted == 1 else 'GPUs are'} requested "
        "(RECSIM_GPUS, or Spark's resource `gpu`), "
        f"but TensorFlow sees {usable.count or 'none'} on {socket.gethostname()}{visible}: "
        f"{usable.reason or 'it gives no reason'}"
    )


def reason(log: str) -> str:
    """Why TensorFlow uses no GPU, according to its log; empty when the log does not say."""
    lines = [re.sub(r"^.*?\] ", "", line).strip() for line in log.splitlines()]
    reasons = [line for mark in REASONS for line in lines if mark in line]
    return reasons[0].rstrip(".") if reasons else ""
