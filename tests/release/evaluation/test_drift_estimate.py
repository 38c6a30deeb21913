from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pytest

from recsim_tasks.arrays import Float32Array
from recsim_tasks.release.evaluation.drift import MIN_IMAGES, Drift, accumulate
from recsim_tasks.release.evaluation.drift_estimate import MIN_HELD_OUT, estimate_drift, share_closer
from recsim_tasks.vectors.index import Index, IndexOrigin
from vectors.reference import ORIGIN

LIMIT = 0.55
SIZE = 16
CATEGORIES = ("boots", "bags", "hats", "shirts")
# How far the images of each category are spread: one is uniform, one as varied as can be.
SPREADS = dict(zip(CATEGORIES, (0.05, 0.2, 0.4, 0.8), strict=True))

Batch = tuple[list[str], list[str], Float32Array]
"""Hashes, categories and unit vectors of images."""


class Images:
    """Draws embeddings of images around one centre a category, and gives each image a hash of its own."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.seen = 0

    def draw(self, categories: list[str], noise: float = 0.0) -> Batch:
        """Hashes, categories and unit vectors; `noise` moves each image away from where its category lies."""
        centres = np.eye(len(CATEGORIES), SIZE)[[CATEGORIES.index(name) for name in categories]]
        spreads = np.array([[SPREADS[name]] for name in categories])
        vectors = centres + self.rng.normal(0, 1, centres.shape) * (spreads + noise) / np.sqrt(SIZE)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.seen += len(categories)
        hashes = [sha256(f"{n}".encode()).hexdigest() for n in range(self.seen - len(categories), self.seen)]
        return hashes, categories, vectors.astype(np.float32)


def index_of(*parts: Batch, model: str = "m") -> Index:
    hashes, categories = ([value for part in parts for value in part[column]] for column in (0, 1))
    text = {
        "product_id": [f"p{n}" for n in range(len(hashes))],
        "title": categories,
        "category": categories,
        "image_hash": hashes,
    }
    table = pa.table({**text, "price": [1.0] * len(hashes), "in_stock": [True] * len(hashes)})
    return Index.build(
        table,
        np.concatenate([part[2] for part in parts]),
        IndexOrigin(model, ORIGIN.cursor),
        exact_below=10**6,
    )


def mixed(count: int) -> list[str]:
    return [CATEGORIES[n % len(CATEGORIES)] for n in range(count)]


@pytest.fixture(scope="module")
def images() -> Images:
    return Images()


@pytest.fixture(scope="module")
def catalogue(images: Images) -> Batch:
    return images.draw(mixed(8_000))


def drift_of(
    images: Images,
    catalogue: Batch,
    categories: list[str],
    noise: float = 0.0,
) -> Drift | None:
    return estimate_drift(index_of(catalogue, images.draw(categories, noise)), index_of(catalogue))


def deliveries() -> Iterator[tuple[str, list[str]]]:
    yield from ((f"{count} of the usual mix", mixed(count)) for count in (100, 200, 1_000))
    yield from ((f"200 {name}", [name] * 200) for name in CATEGORIES)


@pytest.mark.parametrize("categories", [pytest.param(mix, id=name) for name, mix in deliveries()])
def test_clean_images_do_not_drift_and_noisy_ones_do(
    images: Images, catalogue: Batch, categories: list[str]
) -> None:
    for _ in range(5):
        clean = drift_of(images, catalogue, categories)
        assert clean is not None
        assert clean.images == len(categories)
        assert clean.likelihood == pytest.approx(0.5, abs=0.15)
        assert clean.at_least < LIMIT
    noisy = drift_of(images, catalogue, categories, noise=1.0)
    assert noisy is not None
    assert noisy.at_least > LIMIT


def test_a_delivery_of_one_category_moves_the_mean_of_all_images_and_is_no_drift(
    images: Images, catalogue: Batch
) -> None:
    delivery = images.draw(["boots"] * 200)
    means = [vectors.mean(axis=0) for vectors in (catalogue[2], delivery[2])]
    assert (
        1 - means[0] @ means[1] / np.prod([np.linalg.norm(mean) for mean in means]) > 0.3
    )  # the measure that this one replaced
    drift = estimate_drift(index_of(catalogue, delivery), index_of(catalogue))
    assert drift is not None
    assert drift.at_least < LIMIT


def test_small_deliveries_count_together(images: Images, catalogue: Batch) -> None:
    for noise, drifts in ((0.0, False), (1.0, True)):
        total: Drift | None = None
        for release in range(1, 8):
            total = accumulate(total, drift_of(images, catalogue, mixed(20), noise))
            assert total is not None
            assert total.images == 20 * release
            assert (total.at_least > LIMIT) == (drifts and total.images >= MIN_IMAGES)


def test_a_category_without_enough_held_out_images_is_not_measured(images: Images) -> None:
    few = images.draw(["boots"] * (5 * MIN_HELD_OUT))
    enough = images.draw(["bags"] * (20 * MIN_HELD_OUT))
    known = index_of(few, enough)
    assert estimate_drift(index_of(few, enough, images.draw(["boots"] * 200)), known) is None
    mixture = estimate_drift(index_of(few, enough, images.draw(["boots", "bags"] * 100)), known)
    assert mixture is not None
    assert mixture.images == 100
    assert estimate_drift(index_of(few, enough, images.draw(["hats"] * 200)), known) is None


def test_fewer_held_out_images_make_the_estimate_less_certain(images: Images) -> None:
    errors = []
    for count in (400, 4_000):
        catalogue = images.draw(["bags"] * count)
        drift = estimate_drift(index_of(catalogue, images.draw(["bags"] * 200)), index_of(catalogue))
        assert drift is not None
        errors.append(drift.held_out_error)
    assert errors[0] > 2 * errors[1] > 0


def test_embeddings_of_two_encoders_are_not_compared(images: Images, catalogue: Batch) -> None:
    assert (
        estimate_drift(index_of(catalogue, images.draw(mixed(200)), model="n"), index_of(catalogue)) is None
    )


def test_nothing_new_is_no_drift(catalogue: Batch) -> None:
    assert estimate_drift(index_of(catalogue), index_of(catalogue)) is None


def test_the_share_that_lies_nearer_counts_ties_by_half() -> None:
    expected = np.array([1.0, 2.0, 2.0, 3.0])
    assert share_closer(np.array([0.0, 1.0, 2.0, 2.5, 9.0]), expected).tolist() == [
        0.0,
        0.125,
        0.5,
        0.75,
        1.0,
    ]
