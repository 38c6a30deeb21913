"""Vectors for tests, and the simplest store: a dictionary, searched by sorting."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from recsim_tasks.arrays import BoolArray, Float32Array, Int64Array
from recsim_tasks.contracts import Cursor
from recsim_tasks.vectors.index import IndexOrigin
from recsim_tasks.vectors.vector_store import VectorStore

DIMENSIONS = 16
ORIGIN = IndexOrigin("m", Cursor("t", 1))


def unit(count: int, seed: int = 0, dimensions: int = DIMENSIONS) -> Float32Array:
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    normalised: Float32Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised


def products(names: list[str], price: float | None = None) -> pa.Table:
    """Products whose fields follow from the number in their name."""
    numbers = [int(name.strip("p-")) for name in names]
    columns = {
        "product_id": names,
        "title": [f"title {name}" for name in names],
        "category": [f"c{n % 4}" for n in numbers],
        "price": [float(n % 50) if price is None else price for n in numbers],
        "in_stock": [n % 3 > 0 for n in numbers],
        "image_hash": [f"hash {name}" for name in names],
    }
    return pa.table(columns)


class Dictionary(VectorStore):
    """The reference store."""

    max_effort = 1.0

    def __init__(self, vectors: Float32Array, keys: Int64Array) -> None:
        self._of: dict[int, Float32Array] = {}
        self.dimensions = vectors.shape[1]
        self.put(vectors, keys)

    def put(self, vectors: Float32Array, keys: Int64Array) -> None:
        self._of |= dict(zip(keys.tolist(), vectors, strict=True))

    def remove(self, keys: Int64Array) -> None:
        for key in keys.tolist():
            self._of.pop(key, None)

    def get(self, keys: Int64Array) -> Float32Array:
        return np.array([self._of[key] for key in keys.tolist()], np.float32).reshape(len(keys), -1)

    def search(
        self, queries: Float32Array, k: int, allowed: BoolArray | None = None, effort: float = 1
    ) -> tuple[Float32Array, Int64Array]:
        scores, keys = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1)
        candidates = [key for key in self._of if allowed is None or (key < len(allowed) and allowed[key])]
        for row, query in enumerate(queries):
            found = sorted(((float(self._of[key] @ query), key) for key in candidates), reverse=True)[:k]
            scores[row, : len(found)] = [score for score, _ in found]
            keys[row, : len(found)] = [key for _, key in found]
        return scores, keys

    def __len__(self) -> int:
        return len(self._of)
