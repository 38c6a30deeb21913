from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.arrays import Int64Array
from recsim_tasks.learning.metrics import (
    mean_average_precision_at_r,
    precision_at_k,
    r_precision,
    relevant_counts,
)


def by_definition(labels: Int64Array, gallery: Int64Array, order: Int64Array) -> tuple[float, float]:
    """R-precision and MAP@R of each query in turn, as the paper writes them."""
    precisions, averages = [], []
    for query, label in enumerate(labels):
        relevant = sum(1 for other in gallery if other == label)
        if not relevant:
            continue
        hits = [gallery[item] == label for item in order[query][:relevant]]
        precisions.append(sum(hits) / relevant)
        averages.append(sum(sum(hits[: i + 1]) / (i + 1) for i in range(relevant) if hits[i]) / relevant)
    return float(np.mean(precisions)), float(np.mean(averages))


def test_agrees_with_the_definition_on_random_rankings() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        gallery, labels = rng.integers(0, 5, 40), rng.integers(0, 6, 15)
        order = np.array([rng.permutation(40) for _ in labels])
        relevant = relevant_counts(labels, gallery, leave_one_out=False)
        expected = by_definition(labels, gallery, order)
        assert r_precision(labels, gallery[order], relevant) == pytest.approx(expected[0])
        assert mean_average_precision_at_r(labels, gallery[order], relevant) == pytest.approx(expected[1])


def test_a_worked_example() -> None:
    labels = np.array(["shoe"])
    neighbours = np.array([["shoe", "bag", "shoe", "bag"]])
    assert precision_at_k(labels, neighbours, 1) == 1.0
    assert precision_at_k(labels, neighbours, 4) == 0.5
    assert r_precision(labels, neighbours, np.array([3])) == pytest.approx(2 / 3)
    assert mean_average_precision_at_r(labels, neighbours, np.array([3])) == pytest.approx((1 + 2 / 3) / 3)


def test_leave_one_out_does_not_count_the_query_itself() -> None:
    labels = np.array(["shoe", "shoe", "bag"])
    assert relevant_counts(labels, labels, leave_one_out=True).tolist() == [1, 1, 0]


def test_a_query_without_relevant_items_is_ignored() -> None:
    labels = np.array(["shoe", "hat"])
    neighbours = np.array([["shoe", "bag"], ["shoe", "bag"]])
    assert mean_average_precision_at_r(labels, neighbours, np.array([1, 0])) == 1.0
    assert mean_average_precision_at_r(labels[1:], neighbours[1:], np.array([0])) == 0.0
    assert precision_at_k(labels[:0], neighbours[:0], 1) == 0.0


def test_too_few_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="3 neighbours per query are needed"):
        precision_at_k(np.array([1]), np.array([[1, 1]]), 3)
