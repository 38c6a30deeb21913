from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from benchmarks.bench import Bench
from benchmarks.learning import goals, quality
from benchmarks.learning.__main__ import BASELINES, _part
from benchmarks.learning.plot import draw
from benchmarks.learning.recipes import article
from benchmarks.learning.speed import measure

from recsim_demo.fashion_mnist import FashionMnist
from recsim_tasks.foundation.settings import Settings

METRICS = ("precision_at_1", "map_at_r")


@pytest.fixture
def small(fashion_mnist: FashionMnist) -> FashionMnist:
    return _part(fashion_mnist, 2_000)


def test_baselines_get_the_same_queries(small: FashionMnist) -> None:
    bench = Bench()
    embeds = {"raw pixels": lambda images: images.reshape(len(images), -1) / np.float32(255)}
    for name, embed in embeds.items():
        quality.measure(bench, name, embed, small)
        quality.measure(bench, f"four, {name}", embed, small, quality.UNSEEN)
    quality.measure_additions(bench, embeds["raw pixels"], small)
    assert 0.7 < bench.figures["raw pixels: precision_at_1"] < 0.9
    assert 0.5 < bench.figures["four, raw pixels: precision_at_1"] < 0.9
    assert abs(bench.figures["added: precision_at_1"] - bench.figures["existing: precision_at_1"]) < 0.15


@pytest.mark.bench
@pytest.mark.ml
def test_the_repaired_recipe_of_the_article_learns(small: FashionMnist) -> None:
    embed = article(small.train_images, small.train_labels.astype(np.int64), 10, 1, repaired=True)
    bench = Bench()
    quality.measure(bench, "repaired", embed, small)
    assert bench.figures["repaired: precision_at_1"] > 0.5


@pytest.mark.bench
@pytest.mark.ml
def test_speed_and_memory_are_measured_in_processes_of_their_own(
    settings: Settings, tmp_path: Path, small: FashionMnist
) -> None:
    quality.write_products(settings.products_uri, small, np.arange(2_000))
    speed = measure(1, 1, settings.products_uri, tmp_path, all_images=True)
    assert speed.images == pytest.approx(1_800, abs=60)
    assert speed.input > speed.trained > 0
    assert 0.2 < speed.gib < 4


@pytest.mark.bench
@pytest.mark.ml
def test_an_encoder_is_trained_on_the_requested_number_of_images(
    settings: Settings, tmp_path: Path, small: FashionMnist
) -> None:
    one_rank = settings.model_copy(update={"image_size": 28, "image_channels": 1, "ranks": 1})
    cursor = quality.write_products(one_rank.products_uri, small, np.arange(2_000))
    embed, minutes = quality.train_encoder(one_rank, cursor, 3_000, tmp_path / "run" / "model")
    assert 0 < minutes < 5
    assert embed(small.test_images[:5]).shape == (5, one_rank.embedding_size)


def test_goals_and_plot_follow_the_measures(tmp_path: Path) -> None:
    bench = Bench(defaultdict(lambda: [0.001]), defaultdict(lambda: 0.93))
    bench.times["input"], bench.times["2 ranks, 1 thread"] = [0.0001], [0.0006]
    lines = [*goals.speed_measures(bench), *goals.quality_measures(bench, 4, 30)]
    met = {line.name: line.met for line in lines}
    assert met == {
        "P12": False, "P12_threads": True, "input": True, "memory": True,
        "Q1_precision_at_1": True, "Q1_map_at_r": True, "Q2": False, "Q3": True, "Q4": True, "Q5": True,
    }  # fmt: skip
    draw(bench, [4, 30], 4, BASELINES, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
