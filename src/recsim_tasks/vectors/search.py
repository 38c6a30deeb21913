"""Search an index: which products match, how many candidates to compare, and in which order to answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsim_tasks.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from recsim_tasks.vectors.filters import Filters, matching
from recsim_tasks.vectors.product_table import ProductTable
from recsim_tasks.vectors.ranking import cosine_scores, rank_order, settled
from recsim_tasks.vectors.thumbnails import distinct_mask
from recsim_tasks.vectors.vector_store import VectorStore

# Candidates beyond k, so that a tie at the k-th place is noticed.
MARGIN = 6
# Factor by which a search that has not settled is widened.
WIDENING = 4
# A thousand queries with k = 10; FAISS is as fast with a quarter of that.
VECTORS_PER_BATCH = 16_384
# A search is not widened beyond this: of more equal products, or more copies of one image, some are not seen.
MAX_CANDIDATES = 10_000


@dataclass(frozen=True)
class Neighbours:
    """Neighbours, best first.

    `positions` int64 [q, k] of their products, and cosines `scores` float64 [q, k]; -1 and -inf stand for
    none.
    """

    positions: Int64Array
    scores: Float64Array


class Searcher:
    """Searches the vectors of an index for products that match filters."""

    def __init__(
        self, vectors: VectorStore, products: ProductTable, filters: Filters, distinct: bool
    ) -> None:
        self._vectors, self._products, self._distinct = vectors, products, distinct
        matches = matching(products.table, filters)
        self._allowed = None if matches is None else products.by_key(matches)
        self._matching_count = len(products) if matches is None else int(matches.sum())
        self._excluded = (
            products.keys_of(sorted(set(filters.exclude))) if filters.exclude else np.empty(0, np.int64)
        )

    def search(self, queries: Float32Array, k: int) -> Neighbours:
        """Return the k nearest of the matching products for each of `queries` [q, d]."""
        k = min(k, len(self._products))
        if not k or not self._matching_count:
            return _no_neighbours(len(queries), k)
        per_batch = max(1, VECTORS_PER_BATCH // (k + MARGIN))
        parts = [
            self._search_widening(queries[at : at + per_batch], k) for at in range(0, len(queries), per_batch)
        ]
        if len(parts) == 1:
            return parts[0]
        filled = [_no_neighbours(0, k), *parts]
        return Neighbours(
            np.concatenate([part.positions for part in filled]),
            np.concatenate([part.scores for part in filled]),
        )

    def _search_widening(self, queries: Float32Array, k: int) -> Neighbours:
        """Search for a few more than k, and widen the search for queries whose first k are not final."""
        wanted = min(k + len(self._excluded) + MARGIN, self._matching_count)
        # Compare as many matching products as would be compared if all products matched.
        effort = min(len(self._products) / self._matching_count, self._vectors.max_effort)
        limit = min(max(wanted, MAX_CANDIDATES), self._matching_count)
        nearest, final = self._search_once(queries, k, wanted, effort)
        while not final.all() and (wanted < limit or effort < self._vectors.max_effort):
            wanted, effort = min(wanted * WIDENING, limit), min(effort * WIDENING, self._vectors.max_effort)
            pending, per_batch = np.flatnonzero(~final), max(1, VECTORS_PER_BATCH // wanted)
            for rows in (pending[at : at + per_batch] for at in range(0, len(pending), per_batch)):
                wider, final[rows] = self._search_once(queries[rows], k, wanted, effort)
                nearest.positions[rows], nearest.scores[rows] = wider.positions, wider.scores
        return nearest

    def _search_once(
        self, queries: Float32Array, k: int, wanted: int, effort: float
    ) -> tuple[Neighbours, BoolArray]:
        """Search once for `wanted` candidates; return the first k, and for which queries they are final."""
        keys = self._vectors.search(queries, wanted, self._allowed, effort)[1]
        if keys.min() < 0 or len(self._excluded) or self._distinct or wanted < k:
            return self._search_with_gaps(queries, keys, k)
        scores = cosine_scores(queries, self._vectors.get(keys.ravel()).reshape(*keys.shape, -1))
        positions = self._products.positions(keys)
        order, rows = rank_order(scores, self._products.ranks[positions]), np.arange(len(keys))[:, None]
        scores = scores[rows, order]
        return Neighbours(positions[rows, order[:, :k]], scores[:, :k]), settled(
            scores[:, k - 1], scores[:, -1]
        )

    def _search_with_gaps(
        self, queries: Float32Array, keys: Int64Array, k: int
    ) -> tuple[Neighbours, BoolArray]:
        """Do the same where some of `keys` [q, w] are missing (-1), excluded, or of copies."""
        missing = keys < 0
        keys = np.where(missing, self._products.row_keys[0], keys)
        vectors = self._vectors.get(keys.ravel()).reshape(*keys.shape, -1)
        positions, scores = self._products.positions(keys), cosine_scores(queries, vectors)
        worst = np.where(missing, np.inf, scores).min(axis=1)
        scores[missing | np.isin(keys, self._excluded)] = -np.inf
        order, rows = rank_order(scores, self._products.ranks[positions]), np.arange(len(keys))[:, None]
        if self._distinct:
            order = self._without_copies(positions, scores, order, k)
        nearest = _first(k, positions[rows, order], scores[rows, order])
        last = nearest.scores[:, -1]
        return nearest, np.isfinite(last) & (missing.any(axis=1) | settled(last, worst))

    def _without_copies(
        self, positions: Int64Array, scores: Float64Array, order: Int64Array, k: int
    ) -> Int64Array:
        """Move all but the first of the copies of each image to the end of `order`.

        Set their `scores` to -inf.
        """
        for row, columns in enumerate(order):
            real = columns[np.isfinite(scores[row, columns])]
            scores[row, real[~distinct_mask(self._products.thumbnails[positions[row, real]], k)]] = -np.inf
        return np.take_along_axis(
            order, np.argsort(-np.take_along_axis(scores, order, axis=1), axis=1, kind="stable"), axis=1
        )


def _first(k: int, positions: Int64Array, scores: Float64Array) -> Neighbours:
    """Return the first k columns, padded with empty ones where there are fewer."""
    padding = _no_neighbours(len(scores), max(0, k - scores.shape[1]))
    positions, scores = (
        np.hstack([positions, padding.positions])[:, :k],
        np.hstack([scores, padding.scores])[:, :k],
    )
    return Neighbours(np.where(np.isneginf(scores), -1, positions), scores)


def _no_neighbours(queries: int, k: int) -> Neighbours:
    return Neighbours(np.full((queries, k), -1, np.int64), np.full((queries, k), -np.inf))
