"""Processor time of a query beside a reference, in turns; measured again before a release is rejected."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from recsim_tasks.arrays import Float32Array
from recsim_tasks.vectors.brute_force import exact_neighbours
from recsim_tasks.vectors.consistency import evenly_spaced
from recsim_tasks.vectors.index import Index
from recsim_tasks.vectors.recall import K

TIMED_QUERIES = 200
# An exact search reads the whole catalogue: fewer of them suffice.
EXACT_QUERIES = 40
ATTEMPTS = 3
PERCENTILE = 95
# Milliseconds: no user notices a query below this, however much slower it has become.
QUICK_MS = 5.0

Reference = Literal["champion", "exact search"]
Query = Callable[[int], Any]


@dataclass(frozen=True)
class QueryTimes:
    """95th percentile of the processor time of a query in milliseconds, of the release and of the reference.

    Processor time, not wall-clock time: a query that waits for a busy processor has not become slower.
    """

    own_ms: float
    reference_ms: float
    reference: Reference

    def within(self, slowdown: float) -> bool:
        """Whether a query is quick, or takes at most `slowdown` times as long as the reference."""
        return self.own_ms <= allowed_ms(self.reference_ms, slowdown)

    @property
    def ratio(self) -> float:
        """The time of a query in multiples of the reference."""
        return self.own_ms / max(self.reference_ms, 1e-9)


def allowed_ms(reference_ms: float, slowdown: float) -> float:
    """The processor time that a query may take, milliseconds."""
    return max(QUICK_MS, slowdown * reference_ms)


def query_times(index: Index, champion: Index | None, slowdown: float) -> QueryTimes:
    """Time queries of `index` and of the champion's index, or of an exact search where there is no champion.

    Other work on the machine competes for caches and clock rate. So the measurement is repeated up to three
    times until the queries are `within` the `slowdown`; the measurement with the smallest ratio counts.
    """
    own = _search(index)
    name: Reference = "exact search" if champion is None else "champion"
    reference = _exact_search(index) if champion is None else _search(champion)
    count = EXACT_QUERIES if champion is None else TIMED_QUERIES

    def measure() -> QueryTimes:
        own_ms, reference_ms = cpu_p95_ms([own, reference], count)
        return QueryTimes(own_ms, reference_ms, name)

    return first_within(measure, slowdown)


def first_within(measure: Callable[[], QueryTimes], slowdown: float) -> QueryTimes:
    """The first of up to three measurements `within` the `slowdown`, else the one with the smallest ratio."""
    measurements: list[QueryTimes] = []
    for _ in range(ATTEMPTS):
        measurements.append(measure())
        if measurements[-1].within(slowdown):
            return measurements[-1]
    return min(measurements, key=lambda times: times.ratio)


def cpu_p95_ms(searches: Sequence[Query], count: int) -> list[float]:
    """95th percentile of the processor time of each search over `count` queries, in turns; milliseconds."""
    times = np.empty((len(searches), count))
    for number in range(count):
        for row, search in enumerate(searches):
            began = time.process_time()
            search(number)
            times[row, number] = time.process_time() - began
    return [round(float(value) * 1000, 3) for value in np.percentile(times, PERCENTILE, axis=1)]


def _search(index: Index) -> Query:
    vectors = _queries(index)
    return lambda number: index.search(vectors[number % len(vectors)][None], K)


def _exact_search(index: Index) -> Query:
    _, known = index.all_vectors()
    vectors = _queries(index)
    return lambda number: exact_neighbours(known, vectors[number % len(vectors)][None], K)


def _queries(index: Index) -> Float32Array:
    return index.vectors_at(evenly_spaced(len(index), TIMED_QUERIES))
