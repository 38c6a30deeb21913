"""One round of each comparison of indexes, in which the libraries take their turns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from benchmarks.vectors.bench import Bench
from benchmarks.vectors.data import ORIGIN, Floats, folder_size, products
from benchmarks.vectors.peers import Faiss, Hnswlib, Nmslib, NumPy, Peer, Rows, Usearch
from recsim_tasks.vectors.index import VECTORS_FILE, Index

K = 10
RECALL = 0.99
SINGLE_QUERIES = 1_000
CHURN_ROUNDS, CHURN_SHARE = 20, 0.05


def build(bench: Bench, name: str, vectors: Floats, exact_below: int = 100_000) -> Index:
    """Our index of `vectors`, as a refresh builds it."""
    index: Index = bench.call(
        f"{name} build", Index.build, products(len(vectors)), vectors, ORIGIN, exact_below
    )
    return index


def add_rounds(bench: Bench, name: str, index: Index, more: Floats, rounds: int) -> None:
    """Add 1 % that is new, and ask for one of it, over and over."""
    count = len(index) // 100
    everything = products(len(index) + rounds * count)
    for at in range(rounds):
        rows, vectors = everything.slice(len(index), count), more[at * count : (at + 1) * count]
        bench.call(f"{name} add 1 %", _add_and_ask, index, rows, vectors, each=count)


def peer_build(bench: Bench, name: str, peer: Peer, vectors: Floats) -> None:
    """The same with another library."""
    bench.call(f"{name} build", peer.add, vectors, np.arange(len(vectors)))


def peer_add_rounds(bench: Bench, name: str, peer: Peer, size: int, more: Floats, rounds: int) -> None:
    """Add 1 % of `size` that is new, over and over."""
    count = size // 100
    for at in range(rounds):
        keys = np.arange(size + at * count, size + (at + 1) * count)
        bench.call(f"{name} add 1 %", peer.add, more[at * count : (at + 1) * count], keys, each=count)


def all_peers(dimensions: int, most: int) -> dict[str, Peer]:
    """Every other library."""
    kinds: dict[str, Callable[[int, int], Peer]] = {
        "hnswlib": Hnswlib,
        "usearch": Usearch,
        "TF Similarity": Nmslib,
        "NumPy": NumPy,
    }
    return {name: kind(dimensions, most) for name, kind in kinds.items()}


def churn(bench: Bench, vectors: Floats, queries: Floats, rounds: int = CHURN_ROUNDS) -> None:
    """Take out 5 % and put in as many under new ids, over and over: what is then found, against an index that was built of the same."""
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
        gone, new = rng.choice(live, step, replace=False), np.arange(size + at * step, size + (at + 1) * step)
        live = np.concatenate([np.setdiff1d(live, gone), new])
        ours.remove(everything["product_id"].take(gone).to_pylist())
        ours.upsert(everything.take(new), vectors[new])
        for peer in peers.values():
            peer.remove(gone)
            peer.add(vectors[new], new)
    near = _truth(vectors, queries, live)
    fresh = Index.build(everything.take(live), vectors[live], ORIGIN, 1)
    fresh._vectors._index.nprobe = ours._vectors._index.nprobe  # at the same settings
    for label, index in (("ours churned", ours), ("ours fresh", fresh)):
        ids = [[int(hit.product_id.split("-")[1]) for hit in hits] for hits in index.search(queries, K)]
        bench.figure(f"recall {label}", _overlap(np.array(ids), near))
    for name, peer in peers.items():
        bench.figure(f"recall {name} churned", _overlap(peer.search(queries, K), near))
        again = (
            all_peers(vectors.shape[1], size)[name] if name != "hnswlib" else Hnswlib(vectors.shape[1], size)
        )
        again.add(vectors[live], live)
        again.level(levels[name])
        bench.figure(f"recall {name} fresh", _overlap(again.search(queries, K), near))


def speed_at_recall(bench: Bench, name: str, peer: Peer, queries: Floats, near: Rows, rounds: int) -> None:
    """Seconds a query, one by one on one thread, at the least effort at which 0.99 of the exact ten nearest are found."""
    for level in peer.levels:
        peer.level(level)
        found = _overlap(peer.search(queries, K), near)
        if found >= RECALL:
            break
    bench.figure(f"{name} level", level)
    bench.figure(f"{name} recall", found)
    one_by_one(bench, f"{name} query", peer, queries, rounds)


def one_by_one(bench: Bench, name: str, peer: Peer, queries: Floats, rounds: int) -> None:
    """Seconds a query, each asked alone, on one thread."""
    faiss.omp_set_num_threads(1)
    asked = queries[:SINGLE_QUERIES]
    for query in asked[:50]:
        peer.search(query[None], K)
    for _ in range(rounds):
        bench.call(name, lambda: [peer.search(query[None], K) for query in asked], each=len(asked))
    faiss.omp_set_num_threads(2)


def layer(bench: Bench, name: str, folder: Path, queries: Floats, rounds: int) -> None:
    """What our layer adds to a query over the bare library, whose index is the very file of ours; and what a mapped file saves."""
    ours, bare = Index.open(folder), Faiss.read(folder / VECTORS_FILE)
    mapped = Faiss.read(folder / VECTORS_FILE, faiss.IO_FLAG_MMAP_IFC)
    faiss.omp_set_num_threads(1)
    asked = queries[:SINGLE_QUERIES]
    for _ in range(max(rounds, 3)):
        bench.call(
            f"{name} single ours", lambda: [ours.search(query[None], K) for query in asked], each=len(asked)
        )
        bench.call(
            f"{name} single bare", lambda: [bare.search(query[None], K) for query in asked], each=len(asked)
        )
        bench.call(
            f"{name} single mapped",
            lambda: [mapped.search(query[None], K) for query in asked],
            each=len(asked),
        )
        bench.call(f"{name} batch ours", ours.neighbours, queries, K, each=len(queries))
        bench.call(f"{name} batch bare", bare.search, queries, K, each=len(queries))
        bench.call(f"{name} load", Faiss.read, folder / VECTORS_FILE)
        bench.call(f"{name} map", Faiss.read, folder / VECTORS_FILE, faiss.IO_FLAG_MMAP_IFC)
        bench.call(f"{name} open", Index.open, folder)
    faiss.omp_set_num_threads(2)
    bench.figure(f"{name} MB", folder_size(folder) / 1e6)


def truth(vectors: Floats, queries: Floats) -> Rows:
    """The exact ten nearest."""
    return _truth(vectors, queries, np.arange(len(vectors)))


def _truth(vectors: Floats, queries: Floats, keys: Rows) -> Rows:
    return keys[Faiss.flat(vectors[keys], np.arange(len(keys))).search(queries, K)]


def _level(peer: Peer, queries: Floats, vectors: Floats, keys: Rows) -> int:
    near = _truth(vectors, queries, keys)
    for level in peer.levels:
        peer.level(level)
        if _overlap(peer.search(queries, K), near) >= RECALL:
            return level
    return peer.levels[-1]


def _overlap(found: Rows, near: Rows) -> float:
    return float(
        np.mean(
            [
                len(set(one) & set(other)) / near.shape[1]
                for one, other in zip(found.tolist(), near.tolist(), strict=True)
            ]
        )
    )


def _add_and_ask(index: Index, rows: object, vectors: Floats) -> None:
    index.upsert(rows, vectors)
    if not index.search(vectors[:1], 1)[0]:
        raise RuntimeError("What was added is not found.")
