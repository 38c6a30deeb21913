"""FAISS, and nothing else: vectors under 64-bit keys, added, removed and searched by inner product.

Two traps of the library are closed here: adding a key twice makes a silent duplicate (so a key is removed before it is added), and
its files are written in place (so a whole folder is published by `foundation.publishing`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np

from recsim_tasks.vectors.exact import Floats, Rows

LISTS_PER_ROOT = 4
TRAINING_PER_LIST = 64
PROBED_SHARE = 0.05
LEAST_PROBED = 16


def create(vectors: Floats, keys: Rows, exact_below: int) -> Any:
    """An index of `vectors` [n, d] under `keys` [n]: exact when n is below `exact_below`, else inverted lists.

    About 4 sqrt(n) lists, as FAISS's guide to choosing an index advises.
    """
    size, dimensions = vectors.shape
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(dimensions)) if size < exact_below else _inverted_lists(vectors, dimensions)
    index.add_with_ids(vectors, keys)
    return index


def is_exact(index: Any) -> bool:
    """Whether a search looks at every vector."""
    return not hasattr(index, "nprobe")


def replace(index: Any, vectors: Floats, keys: Rows) -> None:
    """Add `vectors` [n, d] under `keys` [n], in place of what these keys held."""
    remove(index, keys)
    if len(keys):
        index.add_with_ids(vectors, keys)


def remove(index: Any, keys: Rows) -> None:
    """Take `keys` out; a key that is not there is passed over."""
    if len(keys):
        index.remove_ids(keys)


def vectors_of(index: Any, keys: Rows, dimensions: int) -> Floats:
    """The stored vectors of `keys` [n], as float32 [n, dimensions]."""
    if not len(keys):
        return np.empty((0, dimensions), np.float32)
    return np.asarray(index.reconstruct_batch(keys), np.float32)


def search(index: Any, queries: Floats, k: int, among: Rows | None) -> Any:
    """Scores and keys [q, k], best first, -1 where there are fewer than `k`; `among` restricts the search, which is then exact."""
    queries = np.ascontiguousarray(queries, np.float32)
    if among is None:
        return index.search(queries, k)
    selector = faiss.IDSelectorBatch(among)
    if is_exact(index):
        return index.search(queries, k, params=faiss.SearchParameters(sel=selector))
    return index.search(queries, k, params=faiss.SearchParametersIVF(sel=selector, nprobe=index.nlist))


def write(index: Any, path: Path) -> None:
    """Write the index to `path`."""
    faiss.write_index(index, str(path))


def read(path: Path) -> Any:
    """Open an index whose digest was checked."""
    return faiss.read_index(str(path))


def _inverted_lists(vectors: Floats, dimensions: int) -> Any:
    lists = max(1, round(LISTS_PER_ROOT * len(vectors) ** 0.5))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimensions), dimensions, lists, faiss.METRIC_INNER_PRODUCT)
    sample = np.random.default_rng(0).choice(len(vectors), min(len(vectors), lists * TRAINING_PER_LIST), replace=False)
    index.train(vectors[np.sort(sample)])
    index.set_direct_map_type(faiss.DirectMap.Hashtable)
    index.nprobe = min(lists, max(LEAST_PROBED, round(lists * PROBED_SHARE)))
    return index
