"""One question to an index: who passes, how much must be looked at, and in which order the answer comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsim_tasks.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from recsim_tasks.vectors.filters import Filters, passing
from recsim_tasks.vectors.product_table import Items
from recsim_tasks.vectors.ranking import best_first, scores_of, settled
from recsim_tasks.vectors.thumbnails import first_of_copies
from recsim_tasks.vectors.vector_store import Store

# Asked for beyond k, so that a tie at the end is seen.
SPARE = 6
# By how much a search is widened when it has not settled.
WIDER = 4
# A thousand queries at ten: FAISS multiplies a quarter of that in the same time.
VECTORS_AT_A_TIME = 16_384
# Beyond k, no more are looked at one by one: of more equal products, or of more copies of one image, not all are seen.
MOST = 10_000


@dataclass(frozen=True)
class Found:
    """Neighbours, best first: `positions` of their products int64 [q, k], -1 for none, and cosines `scores` float64 [q, k], -inf for none."""

    positions: Int64Array
    scores: Float64Array


class Searcher:
    """The vectors and the products of an index, and what a caller asks of the products."""

    def __init__(self, vectors: Store, items: Items, filters: Filters, distinct: bool) -> None:
        self._vectors, self._items, self._distinct = vectors, items, distinct
        meets = passing(items.table, filters)
        self._among = None if meets is None else items.by_key(meets)
        self._passing = len(items) if meets is None else int(meets.sum())
        self._excluded = (
            items.keys_of(sorted(set(filters.exclude))) if filters.exclude else np.empty(0, np.int64)
        )

    def search(self, queries: Float32Array, k: int) -> Found:
        """The k nearest to each of `queries` [q, d] of those who pass."""
        k = min(k, len(self._items))
        if not k or not self._passing:
            return _nothing(len(queries), k)
        at_a_time = max(1, VECTORS_AT_A_TIME // (k + SPARE))
        parts = [self._widening(queries[at : at + at_a_time], k) for at in range(0, len(queries), at_a_time)]
        if len(parts) == 1:
            return parts[0]
        together = [_nothing(0, k), *parts]
        return Found(
            np.concatenate([part.positions for part in together]),
            np.concatenate([part.scores for part in together]),
        )

    def _widening(self, queries: Float32Array, k: int) -> Found:
        """Look for somewhat more than k, and for more again where that does not settle the first k."""
        wanted = min(k + len(self._excluded) + SPARE, self._passing)
        # As many of those who pass are looked at as there would be if all did.
        effort = min(len(self._items) / self._passing, self._vectors.most_effort)
        most = min(max(wanted, MOST), self._passing)
        found, done = self._once(queries, k, wanted, effort)
        while not done.all() and (wanted < most or effort < self._vectors.most_effort):
            wanted, effort = min(wanted * WIDER, most), min(effort * WIDER, self._vectors.most_effort)
            open_, at_a_time = np.flatnonzero(~done), max(1, VECTORS_AT_A_TIME // wanted)
            for rows in (open_[at : at + at_a_time] for at in range(0, len(open_), at_a_time)):
                again, done[rows] = self._once(queries[rows], k, wanted, effort)
                found.positions[rows], found.scores[rows] = again.positions, again.scores
        return found

    def _once(self, queries: Float32Array, k: int, wanted: int, effort: float) -> tuple[Found, BoolArray]:
        """The first k of what one search for `wanted` gives, and for which queries they are settled."""
        keys = self._vectors.search(queries, wanted, self._among, effort)[1]
        if keys.min() < 0 or len(self._excluded) or self._distinct or wanted < k:
            return self._with_gaps(queries, keys, k)
        scores = scores_of(queries, self._vectors.get(keys.ravel()).reshape(*keys.shape, -1))
        positions = self._items.positions(keys)
        order, rows = best_first(scores, self._items.ranks[positions]), np.arange(len(keys))[:, None]
        scores = scores[rows, order]
        return Found(positions[rows, order[:, :k]], scores[:, :k]), settled(scores[:, k - 1], scores[:, -1])

    def _with_gaps(self, queries: Float32Array, keys: Int64Array, k: int) -> tuple[Found, BoolArray]:
        """The same where some `keys` [q, w] are -1 for none, or stand for products that are left out."""
        missing = keys < 0
        keys = np.where(missing, self._items.row_keys[0], keys)
        vectors = self._vectors.get(keys.ravel()).reshape(*keys.shape, -1)
        positions, scores = self._items.positions(keys), scores_of(queries, vectors)
        worst = np.where(missing, np.inf, scores).min(axis=1)
        scores[missing | np.isin(keys, self._excluded)] = -np.inf
        order, rows = best_first(scores, self._items.ranks[positions]), np.arange(len(keys))[:, None]
        if self._distinct:
            order = self._without_copies(positions, scores, order, k)
        found = _first(k, positions[rows, order], scores[rows, order])
        last = found.scores[:, -1]
        return found, np.isfinite(last) & (missing.any(axis=1) | settled(last, worst))

    def _without_copies(
        self, positions: Int64Array, scores: Float64Array, order: Int64Array, k: int
    ) -> Int64Array:
        """`order` with all but the first of the copies of each image at the end, where their `scores` become -inf."""
        for row, places in enumerate(order):
            real = places[np.isfinite(scores[row, places])]
            scores[row, real[~first_of_copies(self._items.thumbnails[positions[row, real]], k)]] = -np.inf
        return np.take_along_axis(
            order, np.argsort(-np.take_along_axis(scores, order, axis=1), axis=1, kind="stable"), axis=1
        )


def _first(k: int, positions: Int64Array, scores: Float64Array) -> Found:
    """The first k columns; columns without a product where there are fewer."""
    nothing = _nothing(len(scores), max(0, k - scores.shape[1]))
    positions, scores = (
        np.hstack([positions, nothing.positions])[:, :k],
        np.hstack([scores, nothing.scores])[:, :k],
    )
    return Found(np.where(np.isneginf(scores), -1, positions), scores)


def _nothing(queries: int, k: int) -> Found:
    return Found(np.full((queries, k), -1, np.int64), np.full((queries, k), -np.inf))
