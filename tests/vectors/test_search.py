"""How a search widens; what it returns is in test_index.py."""

from __future__ import annotations

import numpy as np

from recsim_tasks.arrays import BoolArray, Float32Array, Int64Array
from recsim_tasks.vectors.filters import Filters
from recsim_tasks.vectors.product_table import ProductTable
from recsim_tasks.vectors.search import MARGIN, Searcher
from vectors.reference import Dictionary, products, unit

SIZE = 200


class Counting(Dictionary):
    """A store that records how many candidates each search wanted."""

    def __init__(self, vectors: Float32Array, keys: Int64Array) -> None:
        super().__init__(vectors, keys)
        self.wanted: list[int] = []

    def search(
        self, queries: Float32Array, k: int, allowed: BoolArray | None = None, effort: float = 1
    ) -> tuple[Float32Array, Int64Array]:
        self.wanted.append(k)
        return super().search(queries, k, allowed, effort)


def searched(vectors: Float32Array, k: int) -> tuple[list[int], list[int]]:
    """The positions found for the first vector, and the candidates of each search."""
    keys = np.arange(len(vectors))
    store, table = Counting(vectors, keys), ProductTable.of(products([f"p-{n}" for n in keys]), keys)
    found = Searcher(store, table, Filters(), distinct=False).search(vectors[:1], k)
    return found.positions[0].tolist(), store.wanted


def test_one_search_is_enough_where_scores_differ() -> None:
    positions, wanted = searched(unit(SIZE), 5)
    assert (positions[0], wanted) == (0, [5 + MARGIN])


def test_ties_at_the_kth_place_widen_the_search_until_all_of_them_are_seen() -> None:
    positions, wanted = searched(np.repeat(unit(1), SIZE, axis=0), 3)
    assert wanted == sorted(wanted)
    assert wanted[-1] == SIZE
    assert positions == [0, 1, 10], "in the order of the ids: p-0, p-1, p-10"
