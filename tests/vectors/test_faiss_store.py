"""What the contract of vector stores cannot show of FAISS."""

from __future__ import annotations

import json
import os
import subprocess
import sys

# OpenMP takes four threads here, on any machine. A thread of a server searches one query at a time.
SEARCHES = """
import json, threading
import numpy as np
import psutil
from recsim_tasks.vectors import faiss_store

vectors = np.random.default_rng(0).normal(size=(20_000, 16)).astype(np.float32)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
store = faiss_store.FlatStore.of(vectors, np.arange(len(vectors)))

def threads_of(count):
    found = []
    def ask():
        before = psutil.Process().num_threads()
        for _ in range(5):
            store.search(vectors[:count], 10)
        found.append(psutil.Process().num_threads() - before)
    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    return found[0]

print(json.dumps([threads_of(1), threads_of(100)]))
"""


def test_one_exact_query_uses_only_the_calling_thread_and_many_use_more() -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", SEARCHES], env=env, capture_output=True, text=True, check=True
    )
    one, many = json.loads(done.stdout)
    assert one == 0
    assert many > 0
