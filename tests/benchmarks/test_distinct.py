from __future__ import annotations

import numpy as np
from benchmarks.distinct.__main__ import OURS, PHASH, goals, near_pairs, shares, thumbnails
from benchmarks.distinct.copies import copies, in_colour, others
from PIL import Image

from recsim_demo.fashion_mnist import FashionMnist


def test_a_small_run_finds_copies_and_tells_products_apart(fashion_mnist: FashionMnist) -> None:
    images = [Image.fromarray(pixels) for pixels in fashion_mnist.test_images[:1_000]]
    found = shares([OURS, PHASH], images[:150])
    merged = {method.name: method.taken_for_copies(images) for method in (OURS, PHASH)}
    assert [measure.met for measure in goals(found, merged, len(images))] == [True, True]
    assert found[OURS.name].keys() == {*copies(), *others()}
    assert merged[PHASH.name] > 10 > merged[OURS.name]


def test_missed_goals_are_reported() -> None:
    found = {method.name: dict.fromkeys(copies(), 0.5) for method in (OURS, PHASH)}
    assert [measure.met for measure in goals(found, {OURS.name: 30, PHASH.name: 30}, 100)] == [False, False]


def test_pairs_of_copies_are_counted(fashion_mnist: FashionMnist) -> None:
    pixels = np.concatenate(
        [fashion_mnist.test_images[:50], fashion_mnist.test_images[:3], fashion_mnist.test_images[:1]]
    )
    pairs = near_pairs(thumbnails([Image.fromarray(image) for image in pixels]))
    assert sorted(map(tuple, pairs.tolist())) == [(0, 50), (0, 53), (1, 51), (2, 52), (50, 53)]


def test_photographs_in_colour_need_no_network() -> None:
    images = list(in_colour(None))
    assert len(images) > 40
    assert {image.mode for image in images} == {"RGB"}
    assert (
        min(
            shares([OURS], images)[OURS.name][name]
            for name in ("JPEG, quality 75", "half the size, bicubic", "WebP, quality 80")
        )
        == 1.0
    )
