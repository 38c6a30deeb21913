"""`make bench-learning`: speed and quality of training, beside its peers, measured in one run."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.bench import Bench
from benchmarks.data import write_catalogue
from benchmarks.learning import goals, quality
from benchmarks.learning.plot import draw
from benchmarks.learning.speed import measure
from benchmarks.report import Measure, last_line, machine, table
from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.fashion_mnist import load as load_fashion_mnist
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.learning.evaluation.retrieval import METRICS

PLOT = Path("docs/images/bench-learning.png")
SETUPS = {"1 rank, 1 thread": (1, 1), "2 ranks, 1 thread": (2, 1), "1 rank, 2 threads": (1, 2)}
UNSEEN = goals.UNSEEN
# The share of the time that steps take; validation and checkpoints take the rest.
STEPS_SHARE = 0.85
BASELINES = ("raw pixels", "PCA of the pixels", "untrained network")


def main() -> None:
    """Measure, print, draw."""
    arguments = _arguments()
    for name in [name for name in os.environ if name.startswith("RECSIM_")]:
        del os.environ[name]
    load_before = machine("tensorflow-cpu", "tensorflow-similarity", "horovod", "pyspark", "hyperopt")
    bench, data = Bench(), _part(load_fashion_mnist(), arguments.images)
    with tempfile.TemporaryDirectory(prefix="recsim-bench-", dir=arguments.folder) as folder:
        lines = _measure(bench, arguments, data, Path(folder))
    print(f"{load_before} before, {os.getloadavg()[0]:.1f} after; median of {arguments.rounds} rounds.\n")
    print(table(lines), "", *_qualities(bench), "", sep="\n")
    if arguments.plot:
        draw(bench, arguments.minutes, min(arguments.minutes), BASELINES, arguments.plot)
        print(f"Plot: {arguments.plot}")
    print(last_line(lines))


def _measure(bench: Bench, arguments: argparse.Namespace, data: FashionMnist, folder: Path) -> list[Measure]:
    settings = _settings(folder / "home")
    cursor = quality.write_products(settings.products_uri, data, np.arange(len(data.train_images)))
    for _ in range(arguments.rounds):
        for name, (ranks, threads) in SETUPS.items():
            speed = measure(ranks, threads, settings.products_uri, folder / "speed")
            bench.note(name, 1 / speed.trained)
            if threads == 2:
                bench.note("input", 1 / speed.input)
    write_catalogue(str(folder / "many"), data, arguments.rows)
    bench.figure("memory GiB", measure(2, 1, str(folder / "many"), folder / "speed", all_images=True).gib)
    rate = STEPS_SHARE / bench.median("2 ranks, 1 thread")
    for minutes in arguments.minutes:
        embed, took = quality.train_encoder(
            settings, cursor, round(rate * 60 * minutes), folder / f"{minutes:g}" / "model"
        )
        bench.figure(f"ours, {minutes:g} min: minutes", took)
        quality.measure(bench, f"ours, {minutes:g} min", embed, data)
    quality.measure_additions(bench, embed, data)
    _unseen(bench, data, round(rate * 60 * min(arguments.minutes)), folder)
    quality.measure(
        bench,
        f"{UNSEEN}, {quality.REPAIRED}",
        quality.article_without_unseen(data, min(arguments.minutes)),
        data,
        quality.UNSEEN,
    )
    for name, embed in quality.baselines(data, settings.embedding_size).items():
        quality.measure(bench, name, embed, data)
        quality.measure(bench, f"{UNSEEN}, {name}", embed, data, quality.UNSEEN)
    for name, embed in quality.articles(data, min(arguments.minutes)).items():
        quality.measure(bench, name, embed, data)
    longest = max(arguments.minutes)
    return [
        *goals.speed_measures(bench),
        *goals.quality_measures(
            bench, min(arguments.minutes), longest if longest > min(arguments.minutes) else None
        ),
    ]


def _unseen(bench: Bench, data: FashionMnist, images: int, folder: Path) -> None:
    """Train without four classes, and use their images as queries."""
    settings = _settings(folder / "unseen")
    cursor = quality.write_products(
        settings.products_uri, data, np.flatnonzero(~np.isin(data.train_labels, quality.UNSEEN))
    )
    embed, _ = quality.train_encoder(settings, cursor, images, folder / "unseen" / "run" / "model")
    quality.measure(bench, f"{UNSEEN}, ours", embed, data, quality.UNSEEN)


def _qualities(bench: Bench) -> list[str]:
    """A table of all encoders and baselines."""
    names = [
        name.removesuffix(f": {METRICS[-1]}") for name in bench.figures if name.endswith(f": {METRICS[-1]}")
    ]
    lines = ["| encoder | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(f"{bench.figures[f'{name}: {metric}']:.4f}" for metric in METRICS) + " |"
        for name in names
    ]
    return lines + [
        f"{name}: {value:.4g}"
        for name, value in bench.figures.items()
        if not any(name.endswith(f": {m}") for m in METRICS)
    ]


def _part(data: FashionMnist, images: int) -> FashionMnist:
    return FashionMnist(
        data.train_images[:images],
        data.train_labels[:images],
        data.test_images[:images],
        data.test_labels[:images],
    )


def _settings(home: Path) -> Settings:
    return load_settings().model_copy(update={"home": home, "image_size": 28, "image_channels": 1})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-learning", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, nargs="+", default=[4.0, 30.0], help="training budgets (default 4 30)"
    )
    parser.add_argument(
        "--images", type=int, default=60_000, help="training images, 60,000 at most (default %(default)s)"
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=1_000_000,
        help="images in the catalogue for the memory measurement (default %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="repetitions of each speed (default %(default)s)"
    )
    parser.add_argument("--plot", type=Path, nargs="?", const=PLOT, help=f"draw a plot (default {PLOT})")
    parser.add_argument("--folder", type=Path, help="working folder; needs 5 GiB")
    return parser.parse_args(sys.argv[1:])


if __name__ == "__main__":
    main()
