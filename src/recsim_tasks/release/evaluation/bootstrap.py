"""Confidence intervals of means and of their differences by the bootstrap of SciPy."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from recsim_tasks.arrays import Float64Array

RESAMPLES = 2_000
LEVEL = 0.95
MIN_IN_TAIL = 10
# Resamples that are drawn at a time, which bounds the memory.
BATCH = 64


class Interval(NamedTuple):
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float


def interval(values: Float64Array, level: float = LEVEL) -> Interval:
    """Mean of `values` [q] and its percentile bootstrap interval, always the same for the same values.

    Ignores NaN; all three numbers are NaN for no value. At a level so high that hardly any resample lies
    outside, the interval is that of the normal distribution. For the differences of two systems query by
    query, it is the paired bootstrap: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap" (1993),
    section 13.3; for rankings T. Sakai, SIGIR 2006 (https://doi.org/10.1145/1148170.1148261).
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(np.nan, np.nan, np.nan)
    mean, tail = float(known.mean()), (1 - level) / 2
    if tail * RESAMPLES < MIN_IN_TAIL:
        reach = NormalDist().inv_cdf(1 - tail) * float(known.std()) / np.sqrt(len(known))
        return Interval(mean, mean - reach, mean + reach)
    return _bootstrap(mean, (known,), np.mean, level)


def interval_between(ours: Float64Array, others: Float64Array, level: float = LEVEL) -> Interval:
    """The mean of `ours` [q] minus that of `others` [r], which are other queries, and its interval.

    NaN if either is empty.
    """
    if not len(ours) or not len(others):
        return Interval(np.nan, np.nan, np.nan)
    return _bootstrap(float(ours.mean() - others.mean()), (ours, others), _difference, level)


def _difference(ours: Float64Array, others: Float64Array, axis: int) -> Float64Array:
    return np.asarray(ours.mean(axis=axis) - others.mean(axis=axis))


def _bootstrap(
    mean: float, samples: tuple[Float64Array, ...], statistic: Callable[..., Float64Array], level: float
) -> Interval:
    from scipy.stats import bootstrap  # type: ignore[import-untyped]

    if min(map(len, samples)) < 2:  # SciPy refuses a single value
        return Interval(mean, mean, mean)
    limits = bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        batch=BATCH,
        confidence_level=level,
        method="percentile",
        vectorized=True,
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return Interval(mean, float(limits.low), float(limits.high))
