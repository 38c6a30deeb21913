from __future__ import annotations

import numpy as np

from recsim_tasks.vectors.exact import exact_neighbours

RNG = np.random.default_rng(0)


def test_neighbours_are_those_of_a_full_sort() -> None:
    vectors, queries = RNG.normal(size=(500, 8)).astype(np.float32), RNG.normal(size=(300, 8)).astype(np.float32)
    rows, scores = exact_neighbours(vectors, queries, 7)
    expected = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :7]
    assert (rows == expected).all()
    assert np.allclose(scores, np.take_along_axis(queries @ vectors.T, expected, axis=1))


def test_ties_go_to_the_lower_row() -> None:
    vectors = np.ones((5, 2), np.float32)
    assert exact_neighbours(vectors, vectors[:1], 5)[0].tolist() == [[0, 1, 2, 3, 4]]


def test_fewer_vectors_than_asked_for_give_all_of_them() -> None:
    vectors = np.eye(3, dtype=np.float32)
    assert exact_neighbours(vectors, vectors, 10)[0].shape == (3, 3)
    assert exact_neighbours(vectors, vectors[:0], 2)[0].shape == (0, 2)
