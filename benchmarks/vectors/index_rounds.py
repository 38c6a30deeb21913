"""One round of each comparison of indexes; the libraries take turns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np

from benchmarks.bench import Bench
from benchmarks.data import ORIGIN, folder_size, products
from benchmarks.vectors.peers import Faiss, Hnswlib, Nmslib, NumPy, Peer, Usearch
from recsim_tasks.arrays import Float32Array, Int64Array
from recsim_tasks.vectors.index import VECTORS_FILE, Index

K = 10
RECALL = 0.99
SINGLE_QUERIES = 1_000
CHURN_ROUNDS, CHURN_SHARE = 20, 0.05


def build(bench: Bench, name: str, vectors: Float32Array, exact_below: int = 100_000) -> Index:
    """Build our index of `vectors`, as a refresh does."""
    index: Index = bench.call(
        f"{name} build", Index.build, products(len(vectors)), vectors, ORIGIN, exact_below
    )
    return index


def add_rounds(bench: Bench, name: str, index: Index, more: Float32Array, rounds: int) -> None:
    """Repeatedly add 1% of new products, and search for one of them."""
    count = len(index) // 100
    everything = products(len(index) + rounds * count)
    for at in range(rounds):
        rows, vectors = everything.slice(len(index), count), more[at * count : (at + 1) * count]
        bench.call(f"{name} add 1%", _add_and_search, index, rows, vectors, each=count)


def peer_build(bench: Bench, name: str, peer: Peer, vectors: Float32Array) -> None:
    """Build the index of another library."""
    bench.call(f"{name} build", peer.add, vectors, np.arange(len(vectors)))


def peer_add_rounds(bench: Bench, name: str, peer: Peer, size: int, batches: list[Float32Array]) -> None:
    """Add batches of new products to an index of `size` products."""
    for batch in batches:
        keys = np.arange(size, size + len(batch))
        bench.call(f"{name} add 1%", peer.add, batch, keys, each=len(batch))
        size += len(batch)


def one_percent_batches(size: int, more: Float32Array, rounds: int) -> list[Float32Array]:
    """Return `rounds` batches of 1% of `size` products each."""
    count = size // 100
    return [more[at * count : (at + 1) * count] for at in range(rounds)]


def all_peers(dimensions: int, capacity: int) -> dict[str, Peer]:
    """Make an empty index of every other library."""
    kinds: dict[str, Callable[[int, int], Peer]] = {
        "hnswlib": Hnswlib,
        "usearch": Usearch,
        "TF Similarity": Nmslib,
        "NumPy": NumPy,
    }
    return {name: kind(dimensions, capacity) for name, kind in kinds.items()}


def churn(bench: Bench, vectors: Float32Array, queries: Float32Array, rounds: int = CHURN_ROUNDS) -> None:
    """Repeatedly replace 5% of the products by new ones.

    Compare recall with an index built from the result.
    """
    size, rng = len(vectors) // 2, np.random.default_rng(1)
    ours = build(bench, "churn", vectors[:size], exact_below=1)
    peers: dict[str, Peer] = {
        "hnswlib": Hnswlib(vectors.shape[1], 2 * size),
        "usearch": Usearch(vectors.shape[1], 2 * size),
    }
    everything, live = products(2 * size + 1), np.arange(size)
    for peer in peers.values():
        peer.add(vectors[:size], live)
    levels = {name: _level(peer, queries, vectors, live) for name, peer in peers.items()}
    for at in range(rounds):
        step = int(size * CHURN_SHARE)
        removed, new = (
            rng.choice(live, step, replace=False),
            np.arange(size + at * step, size + (at + 1) * step),
        )
        live = np.concatenate([np.setdiff1d(live, removed), new])
        ours.remove(everything["product_id"].take(removed).to_pylist())
        ours.upsert(everything.take(new), vectors[new])
        for peer in peers.values():
            peer.remove(removed)
            peer.add(vectors[new], new)
    near = _truth(vectors, queries, live)
    fresh = Index.build(everything.take(live), vectors[live], ORIGIN, 1)
    fresh._vectors._index.nprobe = ours._vectors._index.nprobe  # at the same settings
    for label, index in (("ours churned", ours), ("ours fresh", fresh)):
        ids = [[int(hit.product_id.split("-")[1]) for hit in hits] for hits in index.search(queries, K)]
        bench.figure(f"recall {label}", _overlap(np.array(ids), near))
    for name, peer in peers.items():
        bench.figure(f"recall {name} churned", _overlap(peer.search(queries, K), near))
        rebuilt = (
            all_peers(vectors.shape[1], size)[name] if name != "hnswlib" else Hnswlib(vectors.shape[1], size)
        )
        rebuilt.add(vectors[live], live)
        rebuilt.level(levels[name])
        bench.figure(f"recall {name} fresh", _overlap(rebuilt.search(queries, K), near))


class Queries(NamedTuple):
    """Query vectors and their exact ten nearest."""

    vectors: Float32Array
    nearest: Int64Array


def speed_at_recall(bench: Bench, name: str, peer: Peer, queries: Queries, rounds: int) -> None:
    """Record seconds per query on one thread, at the lowest effort that reaches a recall@10 of 0.99."""
    for level in peer.levels:
        peer.level(level)
        recall = _overlap(peer.search(queries.vectors, K), queries.nearest)
        if recall >= RECALL:
            break
    bench.figure(f"{name} level", level)
    bench.figure(f"{name} recall", recall)
    one_by_one(bench, f"{name} query", peer, queries.vectors, rounds)


def one_by_one(bench: Bench, name: str, peer: Peer, queries: Float32Array, rounds: int) -> None:
    """Record seconds per query, one at a time on one thread."""
    faiss.omp_set_num_threads(1)
    chosen = queries[:SINGLE_QUERIES]
    for query in chosen[:50]:
        peer.search(query[None], K)
    for _ in range(rounds):
        bench.call(name, lambda: [peer.search(query[None], K) for query in chosen], each=len(chosen))
    faiss.omp_set_num_threads(2)


def layer(bench: Bench, name: str, folder: Path, queries: Float32Array, rounds: int) -> None:
    """Record what our layer adds to a query of FAISS on the same file, and what mapping the file saves."""
    ours, bare = Index.open(folder), Faiss.read(folder / VECTORS_FILE)
    mapped = Faiss.read(folder / VECTORS_FILE, faiss.IO_FLAG_MMAP_IFC)
    faiss.omp_set_num_threads(1)
    chosen = queries[:SINGLE_QUERIES]
    for _ in range(max(rounds, 3)):
        bench.call(
            f"{name} single ours", lambda: [ours.search(query[None], K) for query in chosen], each=len(chosen)
        )
        bench.call(
            f"{name} single bare", lambda: [bare.search(query[None], K) for query in chosen], each=len(chosen)
        )
        bench.call(
            f"{name} single mapped",
            lambda: [mapped.search(query[None], K) for query in chosen],
            each=len(chosen),
        )
        bench.call(f"{name} batch ours", ours.neighbours, queries, K, each=len(queries))
        bench.call(f"{name} batch bare", bare.search, queries, K, each=len(queries))
        bench.call(f"{name} load", Faiss.read, folder / VECTORS_FILE)
        bench.call(f"{name} map", Faiss.read, folder / VECTORS_FILE, faiss.IO_FLAG_MMAP_IFC)
        bench.call(f"{name} open", Index.open, folder)
    faiss.omp_set_num_threads(2)
    bench.figure(f"{name} MB", folder_size(folder) / 1e6)


def with_nearest(vectors: Float32Array, queries: Float32Array) -> Queries:
    """Find the exact ten nearest of `queries` among `vectors`."""
    return Queries(queries, _truth(vectors, queries, np.arange(len(vectors))))


def _truth(vectors: Float32Array, queries: Float32Array, keys: Int64Array) -> Int64Array:
    return keys[Faiss.flat(vectors[keys], np.arange(len(keys))).search(queries, K)]


def _level(peer: Peer, queries: Float32Array, vectors: Float32Array, keys: Int64Array) -> int:
    near = _truth(vectors, queries, keys)
    for level in peer.levels:
        peer.level(level)
        if _overlap(peer.search(queries, K), near) >= RECALL:
            return level
    return peer.levels[-1]


def _overlap(nearest: Int64Array, exact: Int64Array) -> float:
    return float(
        np.mean(
            [
                len(set(one) & set(other)) / exact.shape[1]
                for one, other in zip(nearest.tolist(), exact.tolist(), strict=True)
            ]
        )
    )


def _add_and_search(index: Index, rows: object, vectors: Float32Array) -> None:
    index.upsert(rows, vectors)
    if not index.search(vectors[:1], 1)[0]:
        raise RuntimeError("An added product is not found.")
