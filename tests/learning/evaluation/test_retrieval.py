from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.arrays import Int64Array
from recsim_tasks.learning.evaluation.retrieval import LabelledVectors, confusion, evaluate_retrieval
from recsim_tasks.learning.metrics import mean_average_precision_at_r, r_precision, relevant_counts

RNG = np.random.default_rng(3)
REFERENCES, QUERIES = (
    RNG.normal(size=(700, 8)).astype(np.float32),
    RNG.normal(size=(1_200, 8)).astype(np.float32),
)
REFERENCE_LABELS, LABELS = RNG.integers(0, 5, 700), RNG.integers(0, 5, 1_200)


def order() -> Int64Array:
    """The definition: all distances, sorted."""
    return np.argsort(((QUERIES[:, None, :] - REFERENCES[None]) ** 2).sum(axis=2), axis=1, kind="stable")


def test_metrics_equal_those_of_a_full_sort_by_distance() -> None:
    result = evaluate_retrieval(
        LabelledVectors(QUERIES, LABELS), LabelledVectors(REFERENCES, REFERENCE_LABELS), {"some": LABELS < 2}
    )
    labels = REFERENCE_LABELS[order()]
    relevant = relevant_counts(LABELS, REFERENCE_LABELS, leave_one_out=False)
    assert result.metrics["precision_at_1"] == pytest.approx((labels[:, 0] == LABELS).mean(), abs=2e-3)
    assert result.metrics["map_at_r"] == pytest.approx(
        mean_average_precision_at_r(LABELS, labels, relevant), abs=1e-3
    )
    assert result.metrics["r_precision"] == pytest.approx(r_precision(LABELS, labels, relevant), abs=1e-3)
    few = LABELS < 2
    assert result.slices["some"]["queries"] == few.sum()
    assert result.slices["some"]["map_at_r"] == pytest.approx(
        mean_average_precision_at_r(LABELS[few], labels[few], relevant[few]), abs=1e-3
    )
    assert (result.nearest[:, 0] == order()[:, 0]).mean() > 0.999


def test_fewer_than_ten_references_are_all_ranked() -> None:
    result = evaluate_retrieval(
        LabelledVectors(QUERIES[:3], LABELS[:3]), LabelledVectors(REFERENCES[:4], np.zeros(4, np.int64)), {}
    )
    assert result.nearest.shape == (3, 4)


def test_a_category_without_references_counts_for_precision_alone() -> None:
    result = evaluate_retrieval(
        LabelledVectors(QUERIES[:2], np.array([0, 9])),
        LabelledVectors(REFERENCES[:20], np.zeros(20, np.int64)),
        {},
    )
    assert result.metrics["precision_at_1"] == 0.5
    assert result.metrics["map_at_r"] == 1.0


def test_confusion_is_the_share_of_each_category_among_the_neighbours() -> None:
    shares = confusion(np.array([0, 0, 2]), np.array([[0, 1], [0, 0], [2, 2]]), 3)
    assert shares.tolist() == [[0.75, 0.25, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
