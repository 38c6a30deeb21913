"""`make bench-drift`: which deliveries of new images cause a retrain, and their cost in precision."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.drift.deliveries import USUAL_MIX, EmbeddedCatalogue, draws, over_releases, products
from benchmarks.drift.distortions import distortions
from benchmarks.learning.quality import train_encoder, write_products
from benchmarks.report import Measure, last_line, machine, table
from recsim_demo.fashion_mnist import CATEGORIES, FashionMnist
from recsim_demo.fashion_mnist import load as load_fashion_mnist
from recsim_tasks.arrays import Float32Array, Int64Array
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.release.evaluation.drift import Drift

CLEAN_SIZES = (20, 200, 1_000)
SIZE = 200
# Precision@1 that a distortion may cost without a retrain.
TOLERATED = 0.05


@dataclass(frozen=True)
class DeliveryResult:
    """How the plan reacts to deliveries of one kind; a row of the tables."""

    name: str
    size: int
    cost: float
    """Loss of precision@1 against clean images."""
    drifts: list[Drift | None]
    """What each release states."""

    def retrains(self, limit: float) -> list[bool]:
        """For each release, whether the next plan is a retrain."""
        return [drift is not None and drift.at_least > limit for drift in self.drifts]


def main() -> None:
    """Train, measure, print."""
    arguments = _arguments()
    for name in [name for name in os.environ if name.startswith("RECSIM_")]:
        del os.environ[name]
    data = _part(load_fashion_mnist(), arguments.products)
    settings = load_settings()
    with tempfile.TemporaryDirectory(prefix="recsim-bench-") as folder:
        home = settings.model_copy(
            update={"home": Path(folder) / "home", "image_size": 28, "image_channels": 1, "ranks": 1}
        )
        clean, distorted = measured(home, data, arguments.images, Path(folder) / "model", arguments.draws)
    print(f"{machine('tensorflow-cpu', 'faiss-cpu')}; {len(data.train_images):,} products.\n")
    limit = settings.retrain_drift
    print("\n".join([*_clean_table(clean, limit), "", *_distorted_table(distorted, limit), ""]))
    lines = goals(clean, distorted, limit)
    print(table(lines), last_line(lines), sep="\n")


def measured(
    settings: Settings, data: FashionMnist, images: int, folder: Path, rounds: int
) -> tuple[list[DeliveryResult], list[DeliveryResult]]:
    """Train on `images`, with repetition; returns the results of clean deliveries and of distorted ones."""
    cursor = write_products(settings.products_uri, data, np.arange(len(data.train_images)))
    embed, _ = train_encoder(settings, cursor, images, folder)
    catalogue, labels = EmbeddedCatalogue.of(data, embed), data.test_labels.astype(np.int64)
    new = products(data.test_images, data.test_labels, "new")
    vectors = embed(data.test_images)
    clean = list(_clean(catalogue, new, vectors, labels, rounds))
    best = catalogue.precision_at_1(vectors, labels)
    distorted = []
    for name, distort in distortions().items():
        changed = distort(data.test_images)
        vectors = embed(changed)
        drifts = over_releases(
            catalogue, products(changed, data.test_labels, "new"), vectors, draws(labels, USUAL_MIX, SIZE, 0)
        )
        distorted.append(DeliveryResult(name, SIZE, best - catalogue.precision_at_1(vectors, labels), drifts))
    return clean, distorted


def goals(clean: list[DeliveryResult], distorted: list[DeliveryResult], limit: float) -> list[Measure]:
    """No clean delivery causes a retrain; every distortion that costs 0.05 of precision@1 or more does."""
    without_retrain = [not retrain for line in clean for retrain in line.retrains(limit)]
    causing_retrain = [any(line.retrains(limit)) for line in distorted if line.cost >= TOLERATED]
    none = "all of them"
    return [
        Measure(
            "D1",
            "releases of clean deliveries without a retrain",
            float(np.mean(without_retrain)),
            1.0,
            none,
            "ours",
            1.0,
            unit="",
        ),
        Measure(
            "D2",
            "distortions that cost 0.05 and cause a retrain",
            float(np.mean(causing_retrain)),
            1.0,
            none,
            "ours",
            1.0,
            unit="",
        ),
    ]


def _clean(
    catalogue: EmbeddedCatalogue, new: pa.Table, vectors: Float32Array, labels: Int64Array, rounds: int
) -> Iterator[DeliveryResult]:
    for mix, categories in ((USUAL_MIX, [USUAL_MIX]), ("one category, each of ten", list(CATEGORIES))):
        for size in CLEAN_SIZES:
            drifts: list[Drift | None] = []
            for category, seed in product(categories, range(rounds)):
                drifts += over_releases(catalogue, new, vectors, draws(labels, category, size, seed))
            yield DeliveryResult(mix, size, 0.0, drifts)


def _clean_table(lines: list[DeliveryResult], limit: float) -> list[str]:
    text = [
        "| clean images | in a delivery | releases | highest likelihood | highest lower bound | releases "
        "that cause a retrain |",
        "|---|---|---|---|---|---|",
    ]
    for line in lines:
        drifts = [drift for drift in line.drifts if drift]
        likelihood, at_least = (
            max(drift.likelihood for drift in drifts),
            max(drift.at_least for drift in drifts),
        )
        text.append(
            f"| {line.name} | {line.size:,} | {len(line.drifts)} | {likelihood:.2f} | {at_least:.2f} | "
            f"{sum(line.retrains(limit))} |"
        )
    return text


def _distorted_table(lines: list[DeliveryResult], limit: float) -> list[str]:
    text = [
        f"| distortion, {SIZE} images a delivery of {USUAL_MIX} | costs of precision@1 | likelihood | "
        f"retrain after |",
        "|---|---|---|---|",
    ]
    for line in lines:
        retrains, last = line.retrains(limit), line.drifts[-1]
        after = f"release {retrains.index(True) + 1}" if any(retrains) else "none of 5"
        text.append(f"| {line.name} | {line.cost:+.3f} | {last.likelihood if last else 0:.2f} | {after} |")
    return text


def _part(data: FashionMnist, count: int) -> FashionMnist:
    return FashionMnist(
        data.train_images[:count], data.train_labels[:count], data.test_images, data.test_labels
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-drift", description=__doc__)
    parser.add_argument(
        "--images", type=int, default=250_000, help="images that training sees (default %(default)s)"
    )
    parser.add_argument(
        "--products",
        type=int,
        default=60_000,
        help="products of the catalogue, 60,000 at most (default %(default)s)",
    )
    parser.add_argument(
        "--draws",
        type=int,
        default=3,
        help="how often each kind of clean delivery is drawn (default %(default)s)",
    )
    return parser.parse_args(sys.argv[1:])


if __name__ == "__main__":
    main()
