"""Other indexes, each as its own users use it: build, add, remove, search; the settings are those of the research, M 16 and 128."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.vectors.data import Floats

Rows = np.ndarray[Any, np.dtype[np.int64]]
LINKS, BUILD_EFFORT = 16, 128
LEVELS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


class Peer(ABC):
    """One library's index of unit vectors, by inner product."""

    levels: tuple[int, ...] = (0,)
    """Search efforts to try."""

    @abstractmethod
    def add(self, vectors: Floats, keys: Rows) -> None:
        """Add vectors under keys that are not there."""

    @abstractmethod
    def search(self, queries: Floats, k: int) -> Rows:
        """Keys [q, k], best first."""

    def remove(self, keys: Rows) -> None:
        """Take keys out."""
        raise NotImplementedError

    def level(self, effort: int) -> None:  # noqa: B027  # an exact one has none
        """Set how much a search looks at."""


class Hnswlib(Peer):
    """hnswlib; keys are never used twice, or it loses some of them."""

    levels = LEVELS

    def __init__(self, dimensions: int, most: int) -> None:
        import hnswlib

        self.index = hnswlib.Index("ip", dimensions)
        self.index.init_index(most, M=LINKS, ef_construction=BUILD_EFFORT, allow_replace_deleted=True)
        self.started = False

    def add(self, vectors: Floats, keys: Rows) -> None:  # noqa: D102
        self.index.add_items(vectors, keys, replace_deleted=self.started)
        self.started = True

    def remove(self, keys: Rows) -> None:  # noqa: D102
        for key in keys.tolist():
            self.index.mark_deleted(key)

    def search(self, queries: Floats, k: int) -> Rows:  # noqa: D102
        return np.asarray(self.index.knn_query(queries, k)[0], np.int64)

    def level(self, effort: int) -> None:  # noqa: D102
        self.index.set_num_threads(1)
        self.index.set_ef(effort)


class Usearch(Peer):
    """usearch."""

    levels = LEVELS

    def __init__(self, dimensions: int, most: int) -> None:  # noqa: ARG002
        from usearch.index import Index

        self.index = Index(
            ndim=dimensions, metric="ip", dtype="f32", connectivity=LINKS, expansion_add=BUILD_EFFORT
        )

    def add(self, vectors: Floats, keys: Rows) -> None:  # noqa: D102
        self.index.add(keys, vectors, threads=os.cpu_count() or 1)

    def remove(self, keys: Rows) -> None:  # noqa: D102
        self.index.remove(keys)

    def search(self, queries: Floats, k: int) -> Rows:  # noqa: D102
        found = self.index.search(queries, k, threads=1)
        return np.asarray(found.keys, np.int64).reshape(len(queries), -1)

    def level(self, effort: int) -> None:  # noqa: D102
        self.index.expansion_search = effort


class Nmslib(Peer):
    """TF Similarity's own index: every addition builds the whole graph anew, and nothing can be removed."""

    def __init__(self, dimensions: int, most: int) -> None:  # noqa: ARG002
        from recsim_tasks.learning.tensorflow_runtime import tensorflow

        tensorflow(threads=os.cpu_count() or 1)
        from tensorflow_similarity.search import NMSLibSearch

        self.index = NMSLibSearch(distance="cosine", dim=dimensions)

    def add(self, vectors: Floats, keys: Rows) -> None:  # noqa: D102
        self.index.batch_add(vectors, keys, build=True, verbose=0)

    def search(self, queries: Floats, k: int) -> Rows:  # noqa: D102
        return np.asarray(self.index.batch_lookup(queries, k)[0], np.int64)


class NumPy(Peer):
    """Exact, as anybody would write it."""

    def __init__(self, dimensions: int, most: int) -> None:  # noqa: ARG002
        self.vectors, self.keys = np.empty((0, dimensions), np.float32), np.empty(0, np.int64)

    def add(self, vectors: Floats, keys: Rows) -> None:  # noqa: D102
        self.vectors, self.keys = np.concatenate([self.vectors, vectors]), np.concatenate([self.keys, keys])

    def remove(self, keys: Rows) -> None:  # noqa: D102
        kept = ~np.isin(self.keys, keys)
        self.vectors, self.keys = self.vectors[kept], self.keys[kept]

    def search(self, queries: Floats, k: int) -> Rows:  # noqa: D102
        scores = queries @ self.vectors.T
        near = np.argpartition(-scores, k, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, near, axis=1), axis=1)
        return self.keys[np.take_along_axis(near, order, axis=1)]


class Faiss(Peer):
    """FAISS without any layer of ours: opened from one of our own files, or made as its guide says."""

    levels = LEVELS

    def __init__(self, index: Any) -> None:
        self.index = index

    @classmethod
    def flat(cls, vectors: Floats, keys: Rows) -> Faiss:
        """Exact."""
        made = cls(faiss.IndexIDMap2(faiss.IndexFlatIP(vectors.shape[1])))
        made.add(vectors, keys)
        return made

    @classmethod
    def read(cls, path: Path, flags: int = 0) -> Faiss:
        """From a file."""
        return cls(faiss.read_index(str(path), flags))

    def add(self, vectors: Floats, keys: Rows) -> None:  # noqa: D102
        self.index.add_with_ids(vectors, keys)

    def remove(self, keys: Rows) -> None:  # noqa: D102
        self.index.remove_ids(keys)

    def search(self, queries: Floats, k: int) -> Rows:  # noqa: D102
        return np.asarray(self.index.search(queries, k)[1], np.int64)

    def level(self, effort: int) -> None:  # noqa: D102
        if hasattr(self.index, "nprobe"):
            self.index.nprobe = effort
