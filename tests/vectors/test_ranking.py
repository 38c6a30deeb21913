from __future__ import annotations

import numpy as np

from recsim_tasks.vectors.ranking import ROUNDING, cosine_scores, rank_order, settled
from vectors.reference import unit

INF = np.inf


def test_scores_are_cosines_in_double_precision() -> None:
    queries, vectors = unit(3), np.stack([unit(5, seed=s) for s in range(3)])
    scores = cosine_scores(queries, vectors)
    assert scores.dtype == np.float64
    assert np.allclose(
        scores,
        [[v.astype(float) @ q.astype(float) for v in rows] for q, rows in zip(queries, vectors, strict=True)],
        0,
        1e-12,
    )


def test_equal_scores_are_ordered_by_rank() -> None:
    assert rank_order(np.array([[0.5, 0.9, 0.5, 0.9]]), np.array([[1, 9, 0, 3]])).tolist() == [[3, 1, 2, 0]]


def test_results_are_final_when_no_missing_product_can_be_as_near() -> None:
    last, worst = np.array([0.8, 0.8, 0.8, -INF]), np.array([0.7, 0.8, 0.8 - ROUNDING / 2, 0.7])
    assert settled(last, worst).tolist() == [True, False, False, False]
