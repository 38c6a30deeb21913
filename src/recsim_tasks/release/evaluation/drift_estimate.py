"""Estimate the drift of the images that a release takes in, from its index and the champion's."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsim_tasks.arrays import Float32Array, Float64Array, Int64Array
from recsim_tasks.learning.data.shards import fractions_and_keys
from recsim_tasks.learning.data.splits import splits_of
from recsim_tasks.release.evaluation.drift import UNIFORM_VARIANCE, Drift
from recsim_tasks.vectors.brute_force import exact_neighbours
from recsim_tasks.vectors.index import Index

# A category with fewer held-out images is not measured.
MIN_HELD_OUT = 20
# Upper bounds of what is compared, so that the cost does not grow with the catalogue.
MAX_NEW, MAX_HELD_OUT, MAX_KNOWN = 2_000, 300, 2_000
NEIGHBOURS = 5


def estimate_drift(challenger: Index, champion: Index) -> Drift | None:
    """Estimate the drift of the images that `challenger` has and `champion` does not have.

    Returns None if the two have different encoders, or if no new image has a category with 20 held-out
    images.
    """
    if challenger.metadata.model_fingerprint != champion.metadata.model_fingerprint:
        return None
    hashes = champion.products["image_hash"].to_pylist()
    categories = np.array([name or "" for name in champion.products["category"].to_pylist()], object)
    held_out = splits_of(fractions_and_keys(hashes)[0]) != "train"
    likelihoods: list[Float64Array] = []
    errors: list[float] = []
    for category, rows in _new_rows(challenger, set(hashes)).items():
        mask = categories == category
        references, others = np.flatnonzero(mask & held_out), np.flatnonzero(mask & ~held_out)
        if len(references) < MIN_HELD_OUT or len(others) < NEIGHBOURS:
            continue
        references = _sample(references, MAX_HELD_OUT)
        known = champion.vectors_at(_sample(others, MAX_KNOWN))
        expected = _distances(champion.vectors_at(references), known)
        likelihoods.append(share_closer(_distances(challenger.vectors_at(rows), known), expected))
        errors.append(len(rows) ** 2 * UNIFORM_VARIANCE / len(references))
    if not likelihoods:
        return None
    together = np.concatenate(likelihoods)
    return Drift(float(together.mean()), float(len(together)), float(np.sqrt(sum(errors)) / len(together)))


def share_closer(distances: Float64Array, expected: Float64Array) -> Float64Array:
    """Return for each of `distances` [n] the share of `expected` [m] that is smaller; ties count half."""
    expected = np.sort(expected)
    smaller, not_larger = (np.searchsorted(expected, distances, side) for side in ("left", "right"))
    return np.asarray((smaller + not_larger) / (2 * len(expected)))


def _new_rows(challenger: Index, known: set[Any]) -> dict[str, Int64Array]:
    """Rows of at most 2,000 products whose image is not `known`, by category."""
    hashes, names = (challenger.products[name].to_pylist() for name in ("image_hash", "category"))
    rows = np.array([row for row, image_hash in enumerate(hashes) if image_hash not in known], np.int64)
    rows = _sample(rows, MAX_NEW)
    categories = np.array([names[row] or "" for row in rows], object)
    return {name: rows[categories == name] for name in sorted(set(categories.tolist()))}


def _distances(vectors: Float32Array, known: Float32Array) -> Float64Array:
    """Return the mean cosine distance [n] of `vectors` [n, d] to their five nearest of `known` [m, d]."""
    _, scores = exact_neighbours(known, vectors, NEIGHBOURS)
    return np.asarray(1.0 - scores.mean(axis=1, dtype=np.float64))


def _sample(rows: Int64Array, limit: int) -> Int64Array:
    """At most `limit` of `rows`, drawn without replacement; always the same for the same rows."""
    if len(rows) <= limit:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, limit, replace=False))
