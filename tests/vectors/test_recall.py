from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.vectors.index import Index
from recsim_tasks.vectors.recall import drop_self, mean_recall, neighbours_without_self, recall_per_query
from recsim_tasks.vectors.search import Neighbours
from vectors.reference import ORIGIN, products, unit

SIZE = 50
VECTORS = unit(SIZE)
ROWS = np.arange(20)


@pytest.fixture(scope="module")
def found() -> Neighbours:
    index = Index.build(products([f"p-{n}" for n in range(SIZE)]), VECTORS, ORIGIN, SIZE * 10)
    return neighbours_without_self(index, ROWS, VECTORS[ROWS])


def test_an_exact_index_has_a_recall_of_one_and_no_product_is_its_own_neighbour(found: Neighbours) -> None:
    assert mean_recall(found, ROWS, VECTORS) == 1
    assert not (found.positions == ROWS[:, None]).any()


def test_each_missing_neighbour_costs_a_tenth(found: Neighbours) -> None:
    scores = found.scores.copy()
    scores[0, -1] = scores[1, -1] = scores[1, -2] = -1.0
    recalls = recall_per_query(Neighbours(found.positions, scores), ROWS, VECTORS)
    assert recalls[:3].tolist() == [0.9, 0.8, 1.0]


def test_the_own_row_is_dropped_or_the_last_one_where_it_was_not_found() -> None:
    rows = np.array([[7, 3, 5], [3, 5, 7]])
    assert drop_self(rows, np.array([3, 9]), rows).tolist() == [[7, 5], [3, 5]]
