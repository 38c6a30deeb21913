from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.vectors import brute_force
from recsim_tasks.vectors.brute_force import exact_neighbours

RNG = np.random.default_rng(0)


def test_neighbours_equal_those_of_a_full_sort() -> None:
    vectors, queries = (
        RNG.normal(size=(500, 8)).astype(np.float32),
        RNG.normal(size=(300, 8)).astype(np.float32),
    )
    rows, scores = exact_neighbours(vectors, queries, 7)
    expected = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :7]
    assert (rows == expected).all()
    assert np.allclose(scores, np.take_along_axis(queries @ vectors.T, expected, axis=1))


def test_ties_go_to_the_lower_row() -> None:
    vectors = np.ones((5, 2), np.float32)
    assert exact_neighbours(vectors, vectors[:1], 5)[0].tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("count", "k"),
    [(5_000, 1), (5_000, 11), (5_000, 39), (5_000, 40), (5_000, 5_000), (64, 3), (191, 1), (1, 1)],
)
def test_ties_of_many_products_and_at_the_kth_place_go_to_the_lower_row(count: int, k: int) -> None:
    """Components are small whole numbers, so that most products are equally near, and every sum is exact."""
    vectors, queries = (
        np.random.default_rng(count + k).integers(-2, 3, (n, 4)).astype(np.float32) for n in (count, 40)
    )
    vectors[count // 2 :] = vectors[: count - count // 2]
    rows, scores = exact_neighbours(vectors, queries, k)
    every = queries @ vectors.T
    expected = np.argsort(-every, axis=1, kind="stable")[:, :k]
    assert (rows == expected).all()
    assert (scores == np.take_along_axis(every, expected, axis=1)).all()


def test_the_block_size_does_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = (
        RNG.integers(-2, 3, (3_000, 4)).astype(np.float32),
        RNG.integers(-2, 3, (50, 4)).astype(np.float32),
    )
    rows, scores = exact_neighbours(vectors, queries, 10)
    monkeypatch.setattr(brute_force, "BLOCK_SCORES", 7 * 3_000)
    rows_in_blocks, scores_in_blocks = exact_neighbours(vectors, queries, 10)
    assert np.array_equal(rows_in_blocks, rows)
    assert np.array_equal(scores_in_blocks, scores)


def test_without_vectors_there_are_no_neighbours() -> None:
    assert exact_neighbours(np.empty((0, 4), np.float32), np.ones((2, 4), np.float32), 3)[0].shape == (2, 0)


def test_a_k_above_the_number_of_vectors_returns_all() -> None:
    vectors = np.eye(3, dtype=np.float32)
    assert exact_neighbours(vectors, vectors, 10)[0].shape == (3, 3)
    assert exact_neighbours(vectors, vectors[:0], 2)[0].shape == (0, 2)
