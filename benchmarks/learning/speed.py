"""Speed of training by ranks and threads, speed of the input pipeline, and memory for a million images.

Each set-up runs in a process of its own, `python -m benchmarks.learning.speed RANKS THREADS CATALOGUE HOME
ALL_IMAGES`, which prints its numbers as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.devices import cpu_count
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.spec import TrainingSpec
from recsim_tasks.learning.training.communicator import Communicator
from recsim_tasks.learning.training.distributed import run_on_ranks
from recsim_tasks.learning.training.planning import Budget, plan_training

BATCH_SIZE, WARM_UP_STEPS, STEPS = 64, 5, 40


@dataclass(frozen=True)
class Speed:
    """What one set-up reaches."""

    trained: float
    """Images per second that all ranks together train on."""
    input: float
    """Images per second from one rank's input pipeline."""
    gib: float
    """Memory of the largest rank."""
    images: float
    """Training images of all ranks."""


def measure(ranks: int, threads: int, uri: str, home: Path, *, all_images: bool = False) -> Speed:
    """Measure `ranks` ranks, each on `threads` threads, with the catalogue `uri`."""
    command = [sys.executable, "-m", "benchmarks.learning.speed"]
    command += [str(ranks), str(threads), uri, str(home), str(int(all_images))]
    environment = {**os.environ, "RECSIM_HOME": str(home)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return Speed(**json.loads(done.stdout.splitlines()[-1]))


def measure_rank(communicator: Communicator, spec: TrainingSpec) -> dict[str, float]:
    """Load this rank's shard, then measure its steps, its batches and its peak memory."""
    from recsim_tasks.learning.training.input_pipeline import BatchPlan, training_batches
    from recsim_tasks.learning.training.trainer import Trainer
    from recsim_tasks.learning.training.training_data import load_training_data

    data, trainer = load_training_data(spec, communicator), Trainer(spec, communicator)
    plan = BatchPlan(spec.batch_size, spec.seed, communicator.rank)
    batches = iter(training_batches(data.train, plan))
    for _ in range(WARM_UP_STEPS):
        images, labels = next(batches)
        trainer.step(images, labels, 0.001, 1.0)
    communicator.all_gather_object("warmed up")
    began, seen = time.perf_counter(), 0
    for _ in range(STEPS):
        images, labels = next(batches)
        seen += len(labels)
        trainer.step(images, labels, 0.001, 1.0)
    trained = sum(communicator.all_gather_object(seen)) / (time.perf_counter() - began)
    for _ in range(WARM_UP_STEPS):
        next(batches)
    began, seen = time.perf_counter(), 0
    for _ in range(STEPS):
        seen += len(next(batches)[1])
    return {
        "trained": trained,
        "input": seen / (time.perf_counter() - began),
        "gib": max(communicator.all_gather_object(_peak_gib())),
        "images": float(sum(communicator.all_gather_object(len(data.train)))),
    }


def _peak_gib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def main() -> None:
    """Measure one set-up."""
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.foundation.settings import load_settings

    ranks, threads, uri, home, all_images = (
        int(sys.argv[1]),
        int(sys.argv[2]),
        sys.argv[3],
        Path(sys.argv[4]),
        sys.argv[5] == "1",
    )
    # Ranks share the machine's processors: a rank gets one thread when the process has one processor per
    # rank.
    if ranks * threads < cpu_count():
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: ranks * threads]))
    settings: Settings = load_settings().model_copy(
        update={"home": home, "products": uri, "image_size": 28, "image_channels": 1, "ranks": ranks}
    )
    cursor = head(uri)
    assert cursor is not None
    budget = Budget(10_000_000 if all_images else 20_000, BATCH_SIZE, ranks, 1)
    spec = replace(plan_training(settings, cursor, Hyperparameters(), budget), rounds=1)
    print(json.dumps(run_on_ranks(settings, measure_rank, spec)), flush=True)


if __name__ == "__main__":
    main()
