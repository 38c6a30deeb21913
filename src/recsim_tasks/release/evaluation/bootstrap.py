"""Whether a difference is more than chance: bootstrap intervals of a mean. Pure NumPy."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from recsim_tasks.arrays import Float64Array

RESAMPLES = 2_000
LEVEL = 0.95
FEWEST_IN_A_TAIL = 10
# Resamples that are drawn at a time: [64, q] counts.
BLOCK = 64


class Interval(NamedTuple):
    """A mean, and where it would lie in 95 of 100 samples of the same size."""

    mean: float
    low: float
    high: float


def interval(values: Float64Array, level: float = LEVEL) -> Interval:
    """Mean of `values` [q] and its percentile bootstrap interval, the same for the same values; NaN is left out, and of nothing all is NaN.

    A level so high that hardly a resample lies outside is told by the normal distribution instead.
    Given the differences of two systems query by query, it is the paired bootstrap: B. Efron, R. Tibshirani, "An Introduction to the
    Bootstrap" (1993), section 13.3; for rankings T. Sakai, SIGIR 2006 (https://doi.org/10.1145/1148170.1148261).
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(np.nan, np.nan, np.nan)
    mean, tail = float(known.mean()), (1 - level) / 2
    if tail * RESAMPLES < FEWEST_IN_A_TAIL:
        reach = NormalDist().inv_cdf(1 - tail) * float(known.std()) / np.sqrt(len(known))
        return Interval(mean, mean - reach, mean + reach)
    low, high = np.quantile(_means(known), [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


def interval_between(ours: Float64Array, others: Float64Array, level: float = LEVEL) -> Interval:
    """The same of the difference of two means, of queries that are not the same: `ours` [q] less `others` [r]."""
    if not len(ours) or not len(others):
        return Interval(np.nan, np.nan, np.nan)
    low, high = np.quantile(_means(ours) - _means(others, seed=1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(ours.mean() - others.mean()), float(low), float(high))


def _means(values: Float64Array, seed: int = 0) -> Float64Array:
    """Means of resamples, drawn with replacement, [RESAMPLES]: of each distinct value how often it is drawn."""
    rng = np.random.default_rng(seed)
    distinct, counts = np.unique(values, return_counts=True)
    sizes = [min(BLOCK, RESAMPLES - start) for start in range(0, RESAMPLES, BLOCK)]
    drawn = [rng.multinomial(len(values), counts / len(values), size) @ distinct for size in sizes]
    return np.asarray(np.concatenate(drawn) / len(values))
