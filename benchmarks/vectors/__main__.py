"""`make bench-vectors`: measure the cost of embedding and indexing, as ratios within one run."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.bench import Bench
from benchmarks.data import LOOSE, TIGHT, clustered, write_catalogue
from benchmarks.report import Measure, last_line, machine, table
from benchmarks.vectors import embedding_rounds, goals, index_rounds
from benchmarks.vectors.peers import Faiss, Hnswlib
from benchmarks.vectors.plot import draw
from benchmarks.vectors.scale import scale
from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.fashion_mnist import load as load_fashion_mnist
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.vectors.index import VECTORS_FILE

PLOT = Path("docs/images/bench-vectors.png")
SMALL, LARGE, ROUNDS, QUERIES = 60_000, 1_000_000, 3, 1_000
DIMENSIONS, SCALE_DIMENSIONS = 64, 128
TRAIN_IMAGES = 40_000


def main() -> None:
    """Measure, print, draw."""
    arguments = _arguments()
    for name in [name for name in os.environ if name.startswith("RECSIM_")]:
        del os.environ[name]
    load_before = machine(
        "faiss-cpu", "hnswlib", "usearch", "onnxruntime", "tensorflow-cpu", "ai-edge-litert"
    )
    bench, data = Bench(), load_fashion_mnist()
    with tempfile.TemporaryDirectory(prefix="recsim-bench-", dir=arguments.folder) as folder:
        lines = _measure(bench, arguments, data, Path(folder))
    print(f"{load_before} before, {os.getloadavg()[0]:.1f} after; median of {arguments.rounds} rounds.\n")
    print(
        table(lines), "\n".join(f"{name}: {value:.6g}" for name, value in bench.figures.items()), "", sep="\n"
    )
    if arguments.plot:
        draw(bench, arguments.small, {"small": arguments.small, "large": arguments.rows}, arguments.plot)
        print(f"Plot: {arguments.plot}")
    print(last_line(lines))


def _measure(bench: Bench, arguments: argparse.Namespace, data: FashionMnist, folder: Path) -> list[Measure]:
    model, small, large = folder / "model", _settings(folder / "small"), _settings(folder / "large")
    cursor = embedding_rounds.train_model(small, data, arguments.small, model)
    _small(bench, arguments, data, folder)
    for name, spread in (("tight", TIGHT), ("loose", LOOSE)):
        _large(bench, arguments, name, spread, folder)
    scale(bench, arguments.rows, SCALE_DIMENSIONS, folder / "scale")
    catalogue = embedding_rounds.Catalogue(small, data, arguments.small, cursor)
    embedding_rounds.refreshes(bench, "small", catalogue, model)
    cursor = write_catalogue(large.products_uri, data, arguments.rows)
    catalogue = embedding_rounds.Catalogue(large, data, arguments.rows, cursor)
    embedding_rounds.refreshes(bench, "large", catalogue, model)
    # Last, because it imports TensorFlow into this process.
    embedding_rounds.runtimes(
        bench, embedding_rounds.fresh_network(), model, data.train_images, arguments.rounds
    )
    return [
        *goals.index_measures(bench, arguments.small, arguments.rows),
        *goals.scale_measures(bench, arguments.rows, SCALE_DIMENSIONS),
        *goals.embedding_measures(bench),
        *goals.refresh_measures(bench, "small", arguments.small),
        *goals.refresh_measures(bench, "large", arguments.rows),
    ]


def _small(bench: Bench, arguments: argparse.Namespace, data: FashionMnist, folder: Path) -> None:
    """Measure additions, churn and our layer on embeddings of real images."""
    base, rest = (
        embedding_rounds.embedded(folder / "model", images)
        for images in (data.train_images, data.test_images)
    )
    base, queries, more = base[: arguments.small], rest[:QUERIES], rest[QUERIES:]
    index = index_rounds.build(bench, "small", base)
    index.save(folder / "small-index")
    index_rounds.add_rounds(bench, "small", index, more, arguments.rounds)
    batches = index_rounds.one_percent_batches(len(base), more, arguments.rounds)
    for name, peer in index_rounds.all_peers(base.shape[1], 2 * len(base)).items():
        index_rounds.peer_build(bench, name, peer, base)
        index_rounds.peer_add_rounds(bench, name, peer, len(base), batches)
    index_rounds.layer(bench, "small", folder / "small-index", queries, arguments.rounds)
    index_rounds.churn(bench, np.concatenate([base, more]), queries)


def _large(bench: Bench, arguments: argparse.Namespace, name: str, spread: float, folder: Path) -> None:
    """Measure speed at a recall, additions and our layer on synthetic vectors."""
    vectors, queries = clustered(
        arguments.rows + arguments.rounds * (arguments.rows // 100), QUERIES, DIMENSIONS, spread
    )
    base, more = vectors[: arguments.rows], vectors[arguments.rows :]
    known = index_rounds.with_nearest(base, queries)
    batches = index_rounds.one_percent_batches(len(base), more, arguments.rounds)
    index = index_rounds.build(bench, f"{name} ours", base, exact_below=1)
    index.save(folder / name)
    if name == "tight":
        index_rounds.layer(bench, "large", folder / name, queries, arguments.rounds)
    index_rounds.speed_at_recall(
        bench, f"{name} ours", Faiss.read(folder / name / VECTORS_FILE), known, arguments.rounds
    )
    index_rounds.add_rounds(bench, f"{name} ours", index, more, arguments.rounds)
    hnswlib = Hnswlib(DIMENSIONS, len(vectors))
    index_rounds.peer_build(bench, f"{name} hnswlib", hnswlib, base)
    index_rounds.speed_at_recall(bench, f"{name} hnswlib", hnswlib, known, arguments.rounds)
    index_rounds.peer_add_rounds(bench, f"{name} hnswlib", hnswlib, len(base), batches)


def _settings(home: Path) -> Settings:
    values = {
        "HOME": home,
        "IMAGE_SIZE": 28,
        "IMAGE_CHANNELS": 1,
        "EMBEDDING_SIZE": 128,
        "RANKS": 1,
        "TRAIN_IMAGES": TRAIN_IMAGES,
    }
    os.environ.update({f"RECSIM_{name}": str(value) for name, value in values.items()})
    return load_settings()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-vectors", description=__doc__)
    parser.add_argument(
        "--small",
        type=int,
        default=SMALL,
        help="products with real images, at most 60,000 (default %(default)s)",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=LARGE,
        help="synthetic vectors, and products of the large catalogue (default %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=ROUNDS,
        help="repetitions (default %(default)s)",
    )
    parser.add_argument("--plot", type=Path, nargs="?", const=PLOT, help=f"draw the plot (default {PLOT})")
    parser.add_argument("--folder", type=Path, help="working folder with 10 GiB of free space")
    return parser.parse_args(sys.argv[1:])


if __name__ == "__main__":
    main()
