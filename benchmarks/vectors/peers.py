"""Other vector indexes, as their users use them; HNSW has M = 16 and an effort of 128 when building."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from recsim_tasks.arrays import Float32Array, Int64Array

LINKS, BUILD_EFFORT = 16, 128
LEVELS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


class Peer(ABC):
    """One library's index of unit vectors, by inner product."""

    levels: tuple[int, ...] = (0,)
    """Search efforts to try."""

    @abstractmethod
    def add(self, vectors: Float32Array, keys: Int64Array) -> None:
        """Add vectors under new keys."""

    @abstractmethod
    def search(self, queries: Float32Array, k: int) -> Int64Array:
        """Return keys [q, k], best first."""

    def remove(self, keys: Int64Array) -> None:
        """Remove keys."""
        raise NotImplementedError

    def level(self, effort: int) -> None:  # noqa: B027  # exact indexes have none
        """Set the effort of a search."""


class Hnswlib(Peer):
    """hnswlib; it loses keys that are used twice, so they never are."""

    levels = LEVELS

    def __init__(self, dimensions: int, capacity: int) -> None:
        import hnswlib

        self.index = hnswlib.Index("ip", dimensions)
        self.index.init_index(capacity, M=LINKS, ef_construction=BUILD_EFFORT, allow_replace_deleted=True)
        self.started = False

    def add(self, vectors: Float32Array, keys: Int64Array) -> None:  # noqa: D102
        self.index.add_items(vectors, keys, replace_deleted=self.started)
        self.started = True

    def remove(self, keys: Int64Array) -> None:  # noqa: D102
        for key in keys.tolist():
            self.index.mark_deleted(key)

    def search(self, queries: Float32Array, k: int) -> Int64Array:  # noqa: D102
        return np.asarray(self.index.knn_query(queries, k)[0], np.int64)

    def level(self, effort: int) -> None:  # noqa: D102
        self.index.set_num_threads(1)
        self.index.set_ef(effort)


class Usearch(Peer):
    """usearch."""

    levels = LEVELS

    def __init__(self, dimensions: int, capacity: int) -> None:  # noqa: ARG002
        from usearch.index import Index

        self.index = Index(
            ndim=dimensions, metric="ip", dtype="f32", connectivity=LINKS, expansion_add=BUILD_EFFORT
        )

    def add(self, vectors: Float32Array, keys: Int64Array) -> None:  # noqa: D102
        self.index.add(keys, vectors, threads=os.cpu_count() or 1)

    def remove(self, keys: Int64Array) -> None:  # noqa: D102
        self.index.remove(keys)

    def search(self, queries: Float32Array, k: int) -> Int64Array:  # noqa: D102
        matches = self.index.search(queries, k, threads=1)
        return np.asarray(matches.keys, np.int64).reshape(len(queries), -1)

    def level(self, effort: int) -> None:  # noqa: D102
        self.index.expansion_search = effort


class Nmslib(Peer):
    """TF Similarity's own index: each addition rebuilds the whole graph, and nothing can be removed."""

    def __init__(self, dimensions: int, capacity: int) -> None:  # noqa: ARG002
        from recsim_tasks.learning.tensorflow_runtime import tensorflow

        tensorflow(threads=os.cpu_count() or 1)
        from tensorflow_similarity.search import NMSLibSearch

        self.index = NMSLibSearch(distance="cosine", dim=dimensions)

    def add(self, vectors: Float32Array, keys: Int64Array) -> None:  # noqa: D102
        self.index.batch_add(vectors, keys, build=True, verbose=0)

    def search(self, queries: Float32Array, k: int) -> Int64Array:  # noqa: D102
        return np.asarray(self.index.batch_lookup(queries, k)[0], np.int64)


class NumPy(Peer):
    """Exact search, in the obvious way."""

    def __init__(self, dimensions: int, capacity: int) -> None:  # noqa: ARG002
        self.vectors, self.keys = np.empty((0, dimensions), np.float32), np.empty(0, np.int64)

    def add(self, vectors: Float32Array, keys: Int64Array) -> None:  # noqa: D102
        self.vectors, self.keys = np.concatenate([self.vectors, vectors]), np.concatenate([self.keys, keys])

    def remove(self, keys: Int64Array) -> None:  # noqa: D102
        kept = ~np.isin(self.keys, keys)
        self.vectors, self.keys = self.vectors[kept], self.keys[kept]

    def search(self, queries: Float32Array, k: int) -> Int64Array:  # noqa: D102
        scores = queries @ self.vectors.T
        near = np.argpartition(-scores, k, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, near, axis=1), axis=1)
        return self.keys[np.take_along_axis(near, order, axis=1)]


class Faiss(Peer):
    """FAISS without our layer: opened from one of our files, or built as its guide says."""

    levels = LEVELS

    def __init__(self, index: Any) -> None:
        self.index = index

    @classmethod
    def flat(cls, vectors: Float32Array, keys: Int64Array) -> Faiss:
        """Make an exact index."""
        made = cls(faiss.IndexIDMap2(faiss.IndexFlatIP(vectors.shape[1])))
        made.add(vectors, keys)
        return made

    @classmethod
    def read(cls, path: Path, flags: int = 0) -> Faiss:
        """Open a file."""
        return cls(faiss.read_index(str(path), flags))

    def add(self, vectors: Float32Array, keys: Int64Array) -> None:  # noqa: D102
        self.index.add_with_ids(vectors, keys)

    def remove(self, keys: Int64Array) -> None:  # noqa: D102
        self.index.remove_ids(keys)

    def search(self, queries: Float32Array, k: int) -> Int64Array:  # noqa: D102
        return np.asarray(self.index.search(queries, k)[1], np.int64)

    def level(self, effort: int) -> None:  # noqa: D102
        if hasattr(self.index, "nprobe"):
            self.index.nprobe = effort
