"""A million products in a process of its own, to measure its memory.

Runs as `python -m benchmarks.vectors.scale ROWS DIMENSIONS FOLDER`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import Bench
from benchmarks.data import ORIGIN, TIGHT, clustered, products
from recsim_tasks.arrays import Float32Array
from recsim_tasks.vectors.filters import Filters
from recsim_tasks.vectors.index import Index

K = 10
STEPS = (
    "build",
    "save",
    "load",
    "append",
    "save_again",
    "open",
    "query",
    "query_in_stock",
    "query_one_in_thousand",
)


def scale(bench: Bench, rows: int, dimensions: int, folder: Path) -> None:
    """Record the time of each step, and the peak memory of the process."""
    command = [sys.executable, "-m", "benchmarks.vectors.scale", str(rows), str(dimensions), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    for step in STEPS:
        bench.note(f"scale {step}", result[step])
    bench.figure("scale GiB", result["GiB"])


def _steps(rows: int, dimensions: int, folder: Path) -> dict[str, float]:
    vectors, queries = clustered(rows + rows // 100, 300, dimensions, TIGHT)
    table = products(rows + rows // 100)
    taken: dict[str, float] = {}

    def step(work: Callable[[], Any], times: int = 1) -> Any:
        began = time.perf_counter()
        result = work()
        taken[STEPS[len(taken)]] = (time.perf_counter() - began) / times
        return result

    index = step(lambda: Index.build(table.slice(0, rows), vectors[:rows], ORIGIN, min(100_000, rows)))
    step(lambda: index.save(folder / "one"))
    del index  # only one at a time is in memory, which is measured
    index = step(lambda: Index.open(folder / "one", writable=True))
    step(lambda: index.upsert(table.slice(rows), vectors[rows:]))
    step(lambda: index.save(folder / "two"))
    del index
    index = step(lambda: Index.open(folder / "two"))
    one_in_thousand = Filters(min_price=10.0, max_price=10.0, categories=("category 3",))
    for filters in (Filters(), Filters(in_stock=True), one_in_thousand):
        index.search(queries[:1], K, filters)
        step(partial(_search_all, index, queries, filters), len(queries))
    return {**taken, "GiB": _gib()}


def _search_all(index: Index, queries: Float32Array, filters: Filters) -> None:
    for query in queries:
        index.search(query[None], K, filters)


def _gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    np.random.default_rng(0)
    print(json.dumps(_steps(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
