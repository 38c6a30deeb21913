"""How many images a second ranks and threads learn from, how many the input pipeline hands out, what a million images take of memory.

Each set-up runs in a process of its own, `python -m benchmarks.learning.speed RANKS THREADS CATALOGUE HOME`, which says it in JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.devices import processors
from recsim_tasks.learning.hyperparameters import Parameters
from recsim_tasks.learning.training.distributed import Ranks, on_ranks
from recsim_tasks.learning.training.planning import plan_job

BATCH, WARM, STEPS = 64, 5, 40


def measured(ranks: int, threads: int, uri: str, home: Path, all_images: bool = False) -> dict[str, float]:
    """Images/s of `ranks` ranks together, each on `threads` threads; images/s of one rank's input alone; GiB of the largest rank."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.learning.speed",
        str(ranks),
        str(threads),
        uri,
        str(home),
        str(int(all_images)),
    ]
    environment = {**os.environ, "RECSIM_HOME": str(home)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def work(ranks: Ranks, job: Any) -> dict[str, float]:
    """On a rank: load its shard, take steps, take batches, look how much memory that took at most."""
    from recsim_tasks.learning.training.input_pipeline import batches
    from recsim_tasks.learning.training.loop import load_shards
    from recsim_tasks.learning.training.trainer import Trainer

    shards, trainer = load_shards(job, ranks), Trainer(job, ranks)
    stream = iter(batches(shards.train, job.batch, job.seed, ranks.rank))
    for _ in range(WARM):
        images, labels = next(stream)
        trainer.step(images, labels, 0.001, 1.0)
    ranks.collect("all are warm")
    began, seen = time.perf_counter(), 0
    for _ in range(STEPS):
        images, labels = next(stream)
        seen += len(labels)
        trainer.step(images, labels, 0.001, 1.0)
    learnt = sum(ranks.collect(seen)) / (time.perf_counter() - began)
    for _ in range(WARM):
        next(stream)
    began, seen = time.perf_counter(), 0
    for _ in range(STEPS):
        seen += len(next(stream)[1])
    return {
        "learnt": learnt,
        "input": seen / (time.perf_counter() - began),
        "gib": max(ranks.collect(_peak_gib())),
        "images": float(sum(ranks.collect(len(shards.train)))),
    }


def _peak_gib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def main() -> None:
    """One set-up."""
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.foundation.settings import load_settings

    ranks, threads, uri, home, all_images = (
        int(sys.argv[1]),
        int(sys.argv[2]),
        sys.argv[3],
        Path(sys.argv[4]),
        sys.argv[5] == "1",
    )
    # The machine's processors are shared out among the ranks: one thread is had by taking one processor.
    if ranks * threads < processors():
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: ranks * threads]))
    settings: Settings = load_settings().model_copy(
        update={"home": home, "products": uri, "image_size": 28, "image_channels": 1, "ranks": ranks}
    )
    cursor = head(uri)
    assert cursor is not None
    job = plan_job(settings, cursor, Parameters(), 10_000_000 if all_images else 20_000, BATCH, ranks, 1)
    print(json.dumps(on_ranks(settings, work, replace(job, rounds=1))), flush=True)


if __name__ == "__main__":
    main()
