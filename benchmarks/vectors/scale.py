"""A million products in one process of its own, whose memory is looked at: `python -m benchmarks.vectors.scale ROWS DIMENSIONS FOLDER`."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.vectors.bench import Bench
from benchmarks.vectors.data import TIGHT, clustered, products
from recsim_tasks.vectors.filters import Filters
from recsim_tasks.vectors.index import Index

K = 10
STEPS = (
    "build",
    "save",
    "load to change",
    "append 1 %",
    "save again",
    "open to search",
    "query",
    "filtered query",
    "filtered query, 1 in 1,000",
)


def scale(bench: Bench, rows: int, dimensions: int, folder: Path) -> None:
    """Note how long each step took, and the most memory that the process held."""
    command = [sys.executable, "-m", "benchmarks.vectors.scale", str(rows), str(dimensions), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    for step in STEPS:
        bench.note(f"scale {step}", told[step])
    bench.figure("scale GiB", told["GiB"])


def _steps(rows: int, dimensions: int, folder: Path) -> dict[str, float]:
    vectors, queries = clustered(rows + rows // 100, 300, dimensions, TIGHT)
    table, taken = products(rows + rows // 100), {}
    start = _gib()

    def step(name: str, began: float, times: int = 1) -> None:
        taken[name] = (time.perf_counter() - began) / times

    began = time.perf_counter()
    index = Index.build(table.slice(0, rows), vectors[:rows], {}, min(100_000, rows))
    step("build", began)
    began = time.perf_counter()
    index.save(folder / "one")
    step("save", began)
    del index
    began = time.perf_counter()
    index = Index.open(folder / "one", writable=True)
    step("load to change", began)
    began = time.perf_counter()
    index.upsert(table.slice(rows), vectors[rows:])
    step("append 1 %", began)
    began = time.perf_counter()
    index.save(folder / "two")
    step("save again", began)
    del index
    began = time.perf_counter()
    index = Index.open(folder / "two")
    step("open to search", began)
    few = Filters(min_price=10.0, max_price=10.0, categories=("category 3",))
    for name, filters in ((STEPS[6], None), (STEPS[7], Filters(in_stock=True)), (STEPS[8], few)):
        index.search(queries[:1], K, filters)
        began = time.perf_counter()
        for query in queries:
            index.search(query[None], K, filters)
        step(name, began, len(queries))
    return {**taken, "GiB": _gib(), "GiB before": start}


def _gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    np.random.default_rng(0)
    print(json.dumps(_steps(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
