from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsim_tasks.arrays import Float32Array, Float64Array
from recsim_tasks.contracts import SliceMetrics
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.data.splits import split_of
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.evaluation.measure import compare, coverage, measure, withdrawn_share
from recsim_tasks.release.evaluation.queries import sample_rows
from recsim_tasks.vectors.index import Index
from recsim_tasks.vectors.search import Neighbours
from release.bundles import png_image, products
from vectors.reference import ORIGIN

SETTINGS = Settings.model_construct(evaluation_queries=1000)


def index_of(vectors: Float64Array, categories: list[str | None]) -> Index:
    count = len(vectors)
    units = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    table = products(1).slice(0, 0)
    table = pa.table(
        {
            "product_id": [f"p{n:05d}" for n in range(count)],
            "title": ["a"] * count,
            "category": pa.array(categories, pa.string()),
            "price": [1.0] * count,
            "in_stock": [True] * count,
            "image_hash": [f"{n * 2**52:016x}".ljust(64, "0") for n in range(count)],
        },
        schema=pa.schema(
            [
                table.schema.field(name)
                for name in ("product_id", "title", "category", "price", "in_stock", "image_hash")
            ]
        ),
    )
    return Index.build(table, units, ORIGIN, exact_below=10**6)


def corners(count: int, categories: int = 3) -> tuple[Float64Array, list[str | None]]:
    """Vectors close around one axis a category."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % categories
    return np.eye(categories, 8)[labels] + rng.normal(0, 0.01, (count, 8)), [f"c{label}" for label in labels]


def test_categories_that_lie_apart_are_all_found() -> None:
    measured = measure(index_of(*corners(90)), SETTINGS)
    metrics = measured.metrics
    assert {
        name: getattr(metrics, name)
        for name in ("precision_at_1", "precision_at_10", "map_at_r", "r_precision", "ann_recall_at_10")
    } == {
        "precision_at_1": 1.0,
        "precision_at_10": 1.0,
        "map_at_r": 1.0,
        "r_precision": 1.0,
        "ann_recall_at_10": 1.0,
    }
    assert metrics.query_cpu_p95_ms > 0
    assert measured.slices["c1"] == SliceMetrics(queries=30, precision_at_1=1.0, precision_at_10=1.0)


def test_categories_without_meaning_are_found_by_chance() -> None:
    vectors = np.random.default_rng(1).normal(size=(600, 8))
    metrics = measure(index_of(vectors, [f"c{n % 3}" for n in range(600)]), SETTINGS).metrics
    assert metrics.precision_at_10 == pytest.approx(1 / 3, abs=0.05)


def test_no_product_is_its_own_neighbour_even_if_another_has_the_same_image() -> None:
    vectors, _ = corners(40)
    twins = np.repeat(vectors[:20], 2, axis=0)
    measured = measure(index_of(twins, [f"c{n % 2}" for n in range(40)]), SETTINGS)
    assert measured.metrics.precision_at_1 < 0.5
    assert measured.metrics.ann_recall_at_10 == 1.0


def test_queries_are_images_that_no_training_has_seen() -> None:
    vectors, categories = corners(4096)
    index = index_of(vectors, categories)
    unseen = sum(split_of(name) == "test" for name in index.products.column("image_hash").to_pylist())
    assert sum(part.queries for part in measure(index, SETTINGS).slices.values()) == unseen == 205


@pytest.mark.parametrize("queries", [50, 1_000])
def test_the_sampled_queries_are_those_of_a_plain_implementation(queries: int) -> None:
    """Some have no category, some share an image; of all rows and of some."""
    vectors, categories = corners(3_000)
    index = index_of(vectors, [None if n % 7 == 0 else name for n, name in enumerate(categories)])
    shared = pa.array([index.products["image_hash"][n // 3].as_py() for n in range(3_000)])
    items = index.products.drop_columns(["row_key", "image_hash"]).append_column("image_hash", shared)
    index = Index.build(items, index.all_vectors()[1], index.metadata, 10**6)
    for among in (None, np.arange(0, 3_000, 2)):
        rows = [
            n for n in (range(3_000) if among is None else among.tolist()) if items["category"][n].as_py()
        ]
        rows = [n for n in rows if split_of(items["image_hash"][n].as_py()) == "test"]
        rows.sort(key=lambda n: (items["image_hash"][n].as_py(), items["product_id"][n].as_py()))
        sampled = sample_rows(index, queries, among).tolist()
        assert sampled[:queries] == rows[:queries]
        assert set(sampled) <= set(rows)


def test_products_newer_than_the_training_are_measured_apart() -> None:
    vectors, categories = corners(2_000)
    index = index_of(vectors, categories)
    hashes = index.products.column("image_hash").to_pylist()
    test = [image_hash for image_hash in hashes if split_of(image_hash) == "test"]
    parts = measure(index, SETTINGS, trained=set(hashes) - set(test[:30])).since_training
    assert parts["added"] == SliceMetrics(queries=30, precision_at_1=1.0, precision_at_10=1.0)
    assert parts["existing"].queries == len(test) - 30
    assert measure(index, SETTINGS).since_training == {}


def test_the_sample_has_the_size_of_the_settings_plus_enough_of_rare_categories() -> None:
    few = Settings.model_construct(evaluation_queries=120)
    vectors, categories = corners(4_000, 2)
    hashes = index_of(vectors, categories).products.column("image_hash").to_pylist()
    rare = {n for n in range(4_000) if split_of(hashes[n]) == "test"}
    rare = set(sorted(rare)[-30:])
    slices = measure(
        index_of(vectors, ["rare" if n in rare else name for n, name in enumerate(categories)]), few
    ).slices
    common = slices["c0"].queries + slices["c1"].queries
    assert slices["rare"].queries == 20
    assert common == 120


def test_products_without_a_category_are_no_queries_but_may_be_found() -> None:
    vectors, categories = corners(60)
    measured = measure(
        index_of(vectors, [None if n % 2 else name for n, name in enumerate(categories)]), SETTINGS
    )
    assert sum(part.queries for part in measured.slices.values()) == 30
    assert measured.metrics.precision_at_10 < 1


def test_an_index_that_misses_neighbours_has_less_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    index = index_of(np.random.default_rng(2).normal(size=(200, 8)), ["c"] * 200)
    exact = index.neighbours

    def forgetful(queries: Float32Array, k: int, *_: object) -> Neighbours:
        nearest, kept = exact(queries, k + 50), [*range(6), *range(-5, 0)]
        return Neighbours(nearest.positions[:, kept], nearest.scores[:, kept])

    monkeypatch.setattr(index, "neighbours", forgetful)
    assert measure(index, SETTINGS).metrics.ann_recall_at_10 == pytest.approx(0.5)


def test_an_index_without_categories_cannot_be_measured() -> None:
    with pytest.raises(InputError, match="Fewer than two products of the index have a category"):
        measure(index_of(corners(5)[0], [None] * 5), SETTINGS)


def test_a_small_index_is_measured_as_deep_as_it_goes(read_only_bundle: Path) -> None:
    vectors, categories = corners(6)
    assert measure(index_of(vectors, categories), SETTINGS).metrics.precision_at_1 == 1.0
    assert measure(Release.open(read_only_bundle).index, SETTINGS).metrics.precision_at_1 == 1.0


def test_two_releases_are_compared_on_the_products_that_both_have_with_the_same_image(
    settings: Settings,
) -> None:
    names = [f"p-{n}" for n in range(60)]
    vectors = np.repeat(np.eye(2, dtype=np.float32), 30, axis=0)
    images = [f"{n:064x}" for n in range(60)]

    def index(categories: list[str], image_hashes: list[str]) -> Index:
        columns = {
            "product_id": names,
            "title": names,
            "category": categories,
            "price": [1.0] * 60,
            "in_stock": [True] * 60,
            "image_hash": image_hashes,
        }
        return Index.build(pa.table(columns), vectors, ORIGIN, exact_below=100)

    good = ["left"] * 30 + ["right"] * 30
    changed = [f"{n + 1000:064x}" for n in range(30)] + images[30:]
    bad_where_changed = ["left", "right"] * 15 + ["right"] * 30
    compared = compare(index(bad_where_changed, changed), index(good, images), settings)
    assert compared is not None
    assert [side.means()["precision_at_1"] for side in (compared.challenger, compared.champion)] == [1.0, 1.0]
    assert compared.challenger.product_ids.tolist() == compared.champion.product_ids.tolist()
    photographed_anew = compare(
        index(good, [f"{n + 5000:064x}" for n in range(60)]), index(good, images), settings
    )
    assert photographed_anew is not None
    assert (
        photographed_anew.challenger.product_ids.tolist() == photographed_anew.champion.product_ids.tolist()
    )
    assert len(photographed_anew.challenger.product_ids) == 60
    assert compare(index(["new"] * 60, images), index(good, images), settings) is None


def test_differences_between_two_releases_are_counted(settings: Settings) -> None:
    vectors, categories = corners(60)
    champion = index_of(vectors, categories)
    again = compare(index_of(vectors, categories), champion, settings)
    assert again is not None
    assert (again.churn, again.lists_changed, again.same_model) == (0.0, 0.0, True)
    assert withdrawn_share(champion, champion) == 0

    other = index_of(np.random.default_rng(9).permutation(vectors), categories)
    other.remove([f"p{n:05d}" for n in range(6)])
    changed = compare(other, champion, settings)
    assert changed is not None
    assert withdrawn_share(other, champion) == pytest.approx(0.1)
    assert withdrawn_share(champion, other) == 0
    assert 0.3 < changed.churn <= changed.lists_changed <= 1.0


def test_added_and_withdrawn_products_do_not_count_as_changed_results() -> None:
    vectors, categories = corners(120)
    champion, thinned = index_of(vectors, categories), index_of(vectors, categories)
    thinned.remove([f"p{n:05d}" for n in range(0, 120, 2)])
    compared = compare(thinned, champion, SETTINGS)
    assert compared is not None
    assert (compared.churn, withdrawn_share(thinned, champion)) == (0.0, 0.5)
    back = compare(champion, thinned, SETTINGS)
    assert back is not None
    assert back.churn == 0


def test_images_that_do_not_find_their_product_lower_the_coverage(read_only_bundle: Path) -> None:
    release = Release.open(read_only_bundle)
    embedder = Embedder(read_only_bundle / "model")
    images = [pa.table({"image": [png_image(n) for n in range(start, start + 10)]}) for start in (0, 10)]
    assert coverage(release.index, embedder, images) == 1
    assert coverage(
        release.index, embedder, [*images, pa.table({"image": [png_image(n) for n in range(1000, 1005)]})]
    ) == pytest.approx(0.8)
    assert np.isnan(coverage(release.index, embedder, []))
