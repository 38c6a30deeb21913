"""The latency of one exact query on an idle machine, and while every core is busy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks.bench import Bench
from recsim_tasks.arrays import Float32Array
from recsim_tasks.vectors import faiss_store

PRODUCTS, DIMENSIONS = 19_999, 64
QUERIES, NEIGHBOURS = 500, 10
# Pause between two queries, as in a server that waits for requests.
PAUSE_SECONDS = 0.002


def beside_busy_cores(bench: Bench, rounds: int) -> None:
    """Record the median latency as `flat, idle` and `flat, busy`, in turns."""
    vectors = np.random.default_rng(0).normal(size=(PRODUCTS, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = faiss_store.FlatStore.of(vectors, np.arange(PRODUCTS))
    for _ in range(rounds):
        bench.note("flat, idle", _median_seconds(store, vectors))
        with _busy_cores():
            bench.note("flat, busy", _median_seconds(store, vectors))


def _median_seconds(store: faiss_store.FlatStore, vectors: Float32Array) -> float:
    times = []
    for number in range(QUERIES):
        time.sleep(PAUSE_SECONDS)
        began = time.perf_counter()
        store.search(vectors[number : number + 1], NEIGHBOURS)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


@contextmanager
def _busy_cores() -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
