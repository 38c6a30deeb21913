"""FAISS, and nothing else: vectors under 64-bit keys, added, removed and searched by inner product.

Five traps of the library are closed here. A query of an exact index is spread over all cores, and waits for the busiest of them.
Adding a key twice makes a silent duplicate, so a key is removed before it is added. Adding to an index that is mapped from its
file aborts the process, so that is refused. Its writer says nothing when the last bytes do not fit on the disk. And its files are
written in place, so a whole folder is published by `foundation.publishing`.
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
from recsim_tasks.vectors.vector_store import Store

LISTS_PER_ROOT = 8
TRAINING_PER_LIST = 32
CALIBRATION_QUERIES = 300
NEIGHBOURS = 10


class Flat(Store):
    """Every search looks at every vector: `IndexFlatIP`, whose rows stand in the order of their keys."""

    most_effort = 1.0
    imbalance = 1.0
    built_recall = 1.0

    def __init__(self, index: Any, keys: Int64Array, mapped: bool = False, owner: Any = None) -> None:
        self._index, self._keys, self._mapped = index, keys, mapped
        self._owner = owner  # holds the memory of an index that was read from a file
        self.dimensions = int(index.d)
        self._see()

    @classmethod
    def of(cls, vectors: Float32Array, keys: Int64Array) -> Flat:
        """An index of `vectors` [n, d] under `keys` [n]."""
        made = cls(faiss.IndexFlatIP(vectors.shape[1]), np.empty(0, np.int64))
        made.put(vectors, keys)
        return made

    def put(self, vectors: Float32Array, keys: Int64Array) -> None:  # noqa: D102
        _check_writable(self._mapped)
        rows = np.searchsorted(self._keys, keys)
        held = np.zeros(len(keys), bool)
        held[rows < len(self)] = self._keys[rows[rows < len(self)]] == keys[rows < len(self)]
        self._matrix[rows[held]] = vectors[held]
        self._index.add(np.ascontiguousarray(vectors[~held], np.float32))
        self._keys = np.concatenate([self._keys, keys[~held]])
        self._see()
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
        among: BoolArray | None = None,
        effort: float = 1,  # noqa: ARG002 - a flat store looks at all
    ) -> tuple[Float32Array, Int64Array]:
        params = None
        if among is not None:
            params = faiss.SearchParameters(
                sel=_selector(np.pad(among, (0, 1))[np.minimum(self._keys, len(among))])
            )
        with _threads_for(queries):
            scores, rows = self._index.search(queries, k, params=params)
        return scores, np.append(self._keys, -1)[rows] if k > len(self) or among is not None else self._keys[
            rows
        ]

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
        self._see()

    def _see(self) -> None:
        """FAISS's own memory as an array; another one after every change of size."""
        size = self._index.ntotal
        seen = (
            faiss.rev_swig_ptr(self._index.get_xb(), size * self.dimensions)
            if size
            else np.empty(0, np.float32)
        )
        self._matrix: Float32Array = seen.reshape(size, self.dimensions)


class InvertedLists(Store):
    """A search looks at the lists nearest to the query: `IndexIVFFlat`, its keys in a hash table."""

    built_recall = float("nan")
    """Share of the ten nearest that it found when it was built; not kept in its file."""

    def __init__(self, index: Any, mapped: bool = False) -> None:
        self._index, self._mapped = index, mapped
        self.dimensions = int(index.d)

    @classmethod
    def of(cls, vectors: Float32Array, keys: Int64Array, recall: float) -> InvertedLists:
        """An index of `vectors` [n, d] under `keys` [n], that looks at as many lists as `recall` of the ten nearest takes.

        8 sqrt(n) lists: FAISS's guide to choosing an index advises 4 to 16. Their centres are learned from 32 vectors a list.
        """
        size, dimensions = vectors.shape
        lists = max(1, min(round(LISTS_PER_ROOT * size**0.5), size // TRAINING_PER_LIST))
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(dimensions), dimensions, lists, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.min_points_per_centroid = 1  # silences a warning on stderr about small indexes
        draw = np.random.default_rng(0)
        index.train(vectors[np.sort(draw.choice(size, min(size, lists * TRAINING_PER_LIST), replace=False))])
        index.set_direct_map_type(faiss.DirectMap.Hashtable)
        made = cls(index)
        made.put(vectors, keys)
        made._calibrate(
            vectors[np.sort(draw.choice(size, min(size, CALIBRATION_QUERIES), replace=False))], recall
        )
        return made

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
        # Not by the wrapper of the same name, which takes longer than the work itself for the few vectors of one answer.
        self._index.reconstruct_batch_c(len(keys), faiss.swig_ptr(keys), faiss.swig_ptr(vectors))
        return vectors

    def search(  # noqa: D102
        self, queries: Float32Array, k: int, among: BoolArray | None = None, effort: float = 1
    ) -> tuple[Float32Array, Int64Array]:
        params = None
        if among is not None or effort > 1:
            probes = min(self._index.nlist, int(np.ceil(self._index.nprobe * effort)))
            params = faiss.SearchParametersIVF(sel=None if among is None else _selector(among), nprobe=probes)
        found: tuple[Float32Array, Int64Array] = self._index.search(queries, k, params=params)
        return found

    def write(self, path: Path) -> None:
        """Write the index to `path`."""
        _write(self._index, path)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def most_effort(self) -> float:  # noqa: D102
        return float(self._index.nlist / self._index.nprobe)

    @property
    def imbalance(self) -> float:
        """Vectors that a search looks at, over what it would were all lists of one length: 1 is balanced."""
        return float(self._index.invlists.imbalance_factor())

    def _calibrate(self, queries: Float32Array, recall: float) -> None:
        """Look at the fewest lists, of 1, 2, 3, 4, 6, 8, 12, ..., that hold `recall` of the ten nearest to `queries`, vectors of its own."""
        k = min(NEIGHBOURS + 1, len(self))
        limits = self.search(queries, k, effort=self.most_effort)[0][:, -1:]
        for probes in sorted(
            {p for n in range(self._index.nlist.bit_length()) for p in (2**n, 3 * 2**n // 2)}
        ):
            self._index.nprobe = min(probes, self._index.nlist)
            others = self.search(queries, k)[0][:, 1:]
            self.built_recall = float(np.mean(others >= limits - ROUNDING)) if others.size else 1.0
            if self.built_recall >= recall:
                return


def create(vectors: Float32Array, keys: Int64Array, exact_below: int, recall: float) -> Flat | InvertedLists:
    """An index of `vectors` [n, d] under `keys` [n]: exact when n is below `exact_below`, else inverted lists."""
    return Flat.of(vectors, keys) if len(vectors) < exact_below else InvertedLists.of(vectors, keys, recall)


def read(path: Path, writable: bool) -> Flat | InvertedLists:
    """Open an index whose digest was checked: mapped from its file to be searched, or in memory to be changed as well.

    FAISS's own mapping (`IO_FLAG_MMAP`) searches 5 to 14 times slower than this one, which maps what it can and reads the rest.
    """
    index = faiss.read_index(str(path), 0 if writable else faiss.IO_FLAG_MMAP_IFC)
    if hasattr(index, "nprobe"):
        return InvertedLists(index, mapped=not writable)
    return Flat(
        faiss.downcast_index(index.index),
        faiss.vector_to_array(index.id_map),
        mapped=not writable,
        owner=index,
    )


@contextmanager
def _threads_for(queries: Float32Array) -> Iterator[None]:
    """One thread for one query; OpenMP keeps the number for each calling thread, so once for a server is not enough."""
    before = faiss.omp_get_max_threads()
    if len(queries) == 1:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _write(index: Any, path: Path) -> None:
    """Through a file of Python's: FAISS's own only prints that the disk is full."""
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def _check_writable(mapped: bool) -> None:
    if mapped:
        raise RecsimError(
            "An index that was opened for search cannot be changed. Open it with `writable=True`."
        )


def _selector(among: BoolArray) -> Any:
    return faiss.IDSelectorBitmap(np.packbits(among, bitorder="little"))
