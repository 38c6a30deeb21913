"""Vector stores on FAISS: vectors under 64-bit keys, searched by inner product.

This module avoids five traps of the library. A single query of an exact index is spread over all cores and
waits for the busiest of them. Adding a key twice makes a silent duplicate, so a key is removed before it is
added. Adding to a memory-mapped index aborts the process, so that is refused. FAISS's writer does not report
that the last bytes do not fit on the disk. And it writes files in place, so folders are published by
`foundation.publishing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from recsim_tasks.arrays import BoolArray, Float32Array, Int64Array
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.vectors.ranking import ROUNDING
from recsim_tasks.vectors.vector_store import VectorStore

LISTS_PER_ROOT = 8
TRAINING_PER_LIST = 32
CALIBRATION_QUERIES = 300
NEIGHBOURS = 10


class FlatStore(VectorStore):
    """Exact search: `IndexFlatIP`, with rows in the order of their keys."""

    max_effort = 1.0
    imbalance = 1.0
    built_recall = 1.0

    def __init__(self, index: Any, keys: Int64Array, *, mapped: bool = False, owner: Any = None) -> None:
        self._index, self._keys, self._mapped = index, keys, mapped
        self._owner = owner  # owns the memory of an index that was read from a file
        self.dimensions = int(index.d)
        self._map_matrix()

    @classmethod
    def of(cls, vectors: Float32Array, keys: Int64Array) -> FlatStore:
        """Make a store of `vectors` [n, d] under `keys` [n]."""
        store = cls(faiss.IndexFlatIP(vectors.shape[1]), np.empty(0, np.int64))
        store.put(vectors, keys)
        return store

    def put(self, vectors: Float32Array, keys: Int64Array) -> None:  # noqa: D102
        _check_writable(self._mapped)
        rows = np.searchsorted(self._keys, keys)
        known = np.isin(keys, self._keys)
        self._matrix[rows[known]] = vectors[known]
        self._index.add(np.ascontiguousarray(vectors[~known], np.float32))
        self._keys = np.concatenate([self._keys, keys[~known]])
        self._map_matrix()
        if (np.diff(self._keys) < 0).any():
            self._reorder(np.argsort(self._keys))

    def remove(self, keys: Int64Array) -> None:  # noqa: D102
        _check_writable(self._mapped)
        self._reorder(np.flatnonzero(~np.isin(self._keys, keys)))

    def get(self, keys: Int64Array) -> Float32Array:  # noqa: D102
        return self._matrix[np.searchsorted(self._keys, keys)]

    def search(  # noqa: D102
        self,
        queries: Float32Array,
        k: int,
        allowed: BoolArray | None = None,
        effort: float = 1,  # noqa: ARG002 - always exact
    ) -> tuple[Float32Array, Int64Array]:
        params = None
        if allowed is not None:
            params = faiss.SearchParameters(
                sel=_selector(np.pad(allowed, (0, 1))[np.minimum(self._keys, len(allowed))])
            )
        with _threads_for(queries):
            scores, rows = self._index.search(queries, k, params=params)
        if k > len(self) or allowed is not None:  # FAISS fills with row -1
            return scores, np.append(self._keys, -1)[rows]
        return scores, self._keys[rows]

    def write(self, path: Path) -> None:
        """Write the index, with its keys, to `path`."""
        keyed = faiss.IndexIDMap(faiss.IndexFlatIP(self.dimensions))
        keyed.index, keyed.ntotal = self._index, len(self)
        faiss.copy_array_to_vector(self._keys, keyed.id_map)
        _write(keyed, path)

    def __len__(self) -> int:
        return len(self._keys)

    def _reorder(self, rows: Int64Array) -> None:
        vectors, self._keys = self._matrix[rows], self._keys[rows]
        self._index.reset()
        self._index.add(vectors)
        self._map_matrix()

    def _map_matrix(self) -> None:
        """Map FAISS's memory as an array; needed after every change of size."""
        size = self._index.ntotal
        values = (
            faiss.rev_swig_ptr(self._index.get_xb(), size * self.dimensions)
            if size
            else np.empty(0, np.float32)
        )
        self._matrix: Float32Array = values.reshape(size, self.dimensions)


class IVFStore(VectorStore):
    """Approximate search in the inverted lists nearest to the query: `IndexIVFFlat`, keys in a hash table."""

    built_recall = float("nan")
    """Recall@10 when it was built; not stored in its file."""

    def __init__(self, index: Any, *, mapped: bool = False) -> None:
        self._index, self._mapped = index, mapped
        self.dimensions = int(index.d)

    @classmethod
    def of(cls, vectors: Float32Array, keys: Int64Array, recall: float) -> IVFStore:
        """Make a store of `vectors` [n, d] under `keys` [n] that probes as many lists as `recall`@10 takes.

        It has 8 sqrt(n) lists: FAISS's guide to choosing an index advises 4 to 16 sqrt(n). Their centres are
        trained on 32 vectors per list.
        """
        size, dimensions = vectors.shape
        lists = max(1, min(round(LISTS_PER_ROOT * size**0.5), size // TRAINING_PER_LIST))
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(dimensions), dimensions, lists, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.min_points_per_centroid = 1  # silences a warning about small indexes
        draw = np.random.default_rng(0)
        index.train(vectors[np.sort(draw.choice(size, min(size, lists * TRAINING_PER_LIST), replace=False))])
        index.set_direct_map_type(faiss.DirectMap.Hashtable)
        store = cls(index)
        store.put(vectors, keys)
        store._calibrate(
            vectors[np.sort(draw.choice(size, min(size, CALIBRATION_QUERIES), replace=False))], recall
        )
        return store

    def put(self, vectors: Float32Array, keys: Int64Array) -> None:  # noqa: D102
        self.remove(keys)
        if len(keys):
            self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), keys)

    def remove(self, keys: Int64Array) -> None:  # noqa: D102
        _check_writable(self._mapped)
        if len(keys):
            self._index.remove_ids(keys)

    def get(self, keys: Int64Array) -> Float32Array:  # noqa: D102
        vectors = np.empty((len(keys), self.dimensions), np.float32)
        # For the few vectors of one answer, the wrapper of the same name takes longer than the work itself.
        self._index.reconstruct_batch_c(len(keys), faiss.swig_ptr(keys), faiss.swig_ptr(vectors))
        return vectors

    def search(  # noqa: D102
        self, queries: Float32Array, k: int, allowed: BoolArray | None = None, effort: float = 1
    ) -> tuple[Float32Array, Int64Array]:
        params = None
        if allowed is not None or effort > 1:
            probes = min(self._index.nlist, int(np.ceil(self._index.nprobe * effort)))
            params = faiss.SearchParametersIVF(
                sel=None if allowed is None else _selector(allowed), nprobe=probes
            )
        result: tuple[Float32Array, Int64Array] = self._index.search(queries, k, params=params)
        return result

    def write(self, path: Path) -> None:
        """Write the index to `path`."""
        _write(self._index, path)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def max_effort(self) -> float:  # noqa: D102
        return float(self._index.nlist / self._index.nprobe)

    @property
    def imbalance(self) -> float:
        """How many more vectors a search compares than if all lists were equally long: 1 is balanced."""
        return float(self._index.invlists.imbalance_factor())

    def _calibrate(self, queries: Float32Array, recall: float) -> None:
        """Set the fewest probes, of 1, 2, 3, 4, 6, 8, 12, ..., that reach `recall`@10 for its own vectors."""
        k = min(NEIGHBOURS + 1, len(self))
        limits = self.search(queries, k, effort=self.max_effort)[0][:, -1:]
        for probes in sorted(
            {p for n in range(self._index.nlist.bit_length()) for p in (2**n, 3 * 2**n // 2)}
        ):
            self._index.nprobe = min(probes, self._index.nlist)
            others = self.search(queries, k)[0][:, 1:]
            self.built_recall = float(np.mean(others >= limits - ROUNDING)) if others.size else 1.0
            if self.built_recall >= recall:
                return


def create(vectors: Float32Array, keys: Int64Array, exact_below: int, recall: float) -> FlatStore | IVFStore:
    """Make a store of `vectors` [n, d] under `keys` [n]: exact if n < `exact_below`, else inverted lists."""
    return FlatStore.of(vectors, keys) if len(vectors) < exact_below else IVFStore.of(vectors, keys, recall)


def read(path: Path, *, writable: bool) -> FlatStore | IVFStore:
    """Open a store whose digest was checked: mapped from its file for search, or in memory when `writable`.

    `IO_FLAG_MMAP` searches 5 to 14 times slower than `IO_FLAG_MMAP_IFC`, which maps what it can and reads the
    rest.
    """
    index = faiss.read_index(str(path), 0 if writable else faiss.IO_FLAG_MMAP_IFC)
    if hasattr(index, "nprobe"):
        return IVFStore(index, mapped=not writable)
    return FlatStore(
        faiss.downcast_index(index.index),
        faiss.vector_to_array(index.id_map),
        mapped=not writable,
        owner=index,
    )


@contextmanager
def _threads_for(queries: Float32Array) -> Iterator[None]:
    """Use one thread for a single query.

    OpenMP keeps the number per calling thread, so set it at every call.
    """
    before = faiss.omp_get_max_threads()
    if len(queries) == 1:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _write(index: Any, path: Path) -> None:
    """Write through a Python file: FAISS's own writer only prints that the disk is full."""
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def _check_writable(mapped: bool) -> None:
    if mapped:
        raise RecsimError("An index opened for search cannot be changed. Open it with `writable=True`.")


def _selector(allowed: BoolArray) -> Any:
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
