from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.learning.evaluation.retrieval import answers, confusion
from recsim_tasks.learning.metrics import map_at_r, r_precision, relevant_counts

RNG = np.random.default_rng(3)
GALLERY, QUERIES = (
    RNG.normal(size=(700, 8)).astype(np.float32),
    RNG.normal(size=(1_200, 8)).astype(np.float32),
)
GALLERY_LABELS, LABELS = RNG.integers(0, 5, 700), RNG.integers(0, 5, 1_200)


def order() -> np.ndarray:
    """By definition: every distance, sorted."""
    return np.argsort(((QUERIES[:, None, :] - GALLERY[None]) ** 2).sum(axis=2), axis=1, kind="stable")


def test_measures_are_those_of_a_full_sort_by_distance() -> None:
    found = answers(QUERIES, LABELS, GALLERY, GALLERY_LABELS, {"some": LABELS < 2})
    labels = GALLERY_LABELS[order()]
    relevant = relevant_counts(LABELS, GALLERY_LABELS, leave_one_out=False)
    assert found.metrics["precision_at_1"] == pytest.approx((labels[:, 0] == LABELS).mean(), abs=2e-3)
    assert found.metrics["map_at_r"] == pytest.approx(map_at_r(LABELS, labels, relevant), abs=1e-3)
    assert found.metrics["r_precision"] == pytest.approx(r_precision(LABELS, labels, relevant), abs=1e-3)
    few = LABELS < 2
    assert found.slices["some"]["queries"] == few.sum()
    assert found.slices["some"]["map_at_r"] == pytest.approx(
        map_at_r(LABELS[few], labels[few], relevant[few]), abs=1e-3
    )
    assert (found.nearest[:, 0] == order()[:, 0]).mean() > 0.999


def test_a_gallery_smaller_than_ten_is_ranked_whole() -> None:
    found = answers(QUERIES[:3], LABELS[:3], GALLERY[:4], np.zeros(4, np.int64), {})
    assert found.nearest.shape == (3, 4)


def test_a_category_that_the_gallery_lacks_counts_for_precision_alone() -> None:
    found = answers(QUERIES[:2], np.array([0, 9]), GALLERY[:20], np.zeros(20, np.int64), {})
    assert found.metrics["precision_at_1"] == 0.5
    assert found.metrics["map_at_r"] == 1.0


def test_confusion_says_what_the_neighbours_of_each_category_are() -> None:
    shares = confusion(np.array([0, 0, 2]), np.array([[0, 1], [0, 0], [2, 2]]), 3)
    assert shares.tolist() == [[0.75, 0.25, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
