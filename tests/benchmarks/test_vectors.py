from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from benchmarks.bench import Bench
from benchmarks.data import LOOSE, TIGHT, clustered, products, write_catalogue
from benchmarks.vectors import embedding_rounds, goals, index_rounds
from benchmarks.vectors.peers import Faiss, Hnswlib
from benchmarks.vectors.plot import draw
from benchmarks.vectors.scale import scale

from recsim_demo.fashion_mnist import FashionMnist
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.index import VECTORS_FILE
from release.bundles import make_model


def test_all_indexes_are_measured_on_the_same_vectors_at_a_high_recall(tmp_path: Path) -> None:
    bench, (vectors, queries) = Bench(), clustered(3_000, 50, 16, TIGHT)
    base, more = vectors[:2_000], vectors[2_000:]
    known = index_rounds.with_nearest(base, queries)
    index = index_rounds.build(bench, "small", base)
    index.save(tmp_path / "index")
    index_rounds.add_rounds(bench, "small", index, more, 2)
    hnswlib = Hnswlib(16, 3_000)
    index_rounds.peer_build(bench, "hnswlib", hnswlib, base)
    index_rounds.speed_at_recall(bench, "tight hnswlib", hnswlib, known, 1)
    index_rounds.peer_add_rounds(
        bench, "hnswlib", hnswlib, 2_000, index_rounds.one_percent_batches(2_000, more, 2)
    )
    index_rounds.speed_at_recall(bench, "tight ours", Faiss.read(tmp_path / "index" / VECTORS_FILE), known, 1)
    index_rounds.layer(bench, "small", tmp_path / "index", queries, 1)
    assert len(index) == 2_040
    assert min(bench.figures["tight hnswlib recall"], bench.figures["tight ours recall"]) >= 0.99


@pytest.mark.bench
def test_churn_keeps_the_recall_of_every_index() -> None:
    bench = Bench()
    index_rounds.churn(bench, *clustered(4_000, 50, 16, LOOSE), rounds=3)
    assert bench.figures["recall ours churned"] >= bench.figures["recall ours fresh"] - 0.2
    assert all(value > 0.5 for name, value in bench.figures.items() if name.startswith("recall"))


@pytest.mark.process
def test_the_memory_of_a_million_products_is_measured_in_its_own_process(tmp_path: Path) -> None:
    bench = Bench()
    scale(bench, 4_000, 16, tmp_path)
    assert 0 < bench.figures["scale GiB"] < 6
    assert len(bench.times) == 9


@pytest.mark.bench
@pytest.mark.spark
def test_a_refresh_embeds_only_changed_images(
    settings: Settings, tmp_path: Path, fashion_mnist: FashionMnist
) -> None:
    cursor = write_catalogue(settings.products_uri, fashion_mnist, 2_000)
    bench = Bench()
    catalogue = embedding_rounds.Catalogue(settings, fashion_mnist, 2_000, cursor)
    embedding_rounds.refreshes(bench, "small", catalogue, make_model(tmp_path / "model"))
    lines = {line.name: line for line in goals.refresh_measures(bench, "small", 2_000)}
    assert (lines["P14"].goal, lines["refresh_small_0.1"].met) == (0.03, None)


def test_images_of_a_large_catalogue_are_all_different(
    settings: Settings, fashion_mnist: FashionMnist
) -> None:
    from benchmarks.data import products_with_images

    numbers = np.concatenate([np.arange(50), 60_000 * np.arange(1, 50)])
    assert len(set(products_with_images(fashion_mnist, numbers)["image_hash"].to_pylist())) == 99
    assert (
        products(3)["product_id"].to_pylist()
        == products_with_images(fashion_mnist, np.arange(3))["product_id"].to_pylist()
    )


def test_goals_and_plot_follow_the_measures(tmp_path: Path) -> None:
    bench = Bench(defaultdict(lambda: [2.0]), defaultdict(lambda: 0.99))
    bench.times["TF Similarity add 1%"] = [2_000.0]
    bench.times["scale build"] = [1.0]
    lines = {
        line.name: line
        for line in [*goals.index_measures(bench, 10, 100), *goals.scale_measures(bench, 100, 8)]
    }
    assert (lines["P1"].value, lines["P1"].met, lines["P2"].met, lines["P3"].met) == (
        1_000.0,
        True,
        True,
        True,
    )
    assert {name for name, line in lines.items() if line.goal} == {
        *("P1", "P2", "P3", "P4", "P4_loose", "scale_memory"),
        *(f"{name}{size}" for name in ("P5", "P5_batch", "P6_open", "P6_search") for size in ("", "_small")),
    }
    draw(bench, 10, {"small": 10}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
