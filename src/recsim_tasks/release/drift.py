"""Drift: whether the images that releases take in look unlike the catalogue that the encoder was trained for.

A new image is compared with held-out images of its own category: images that were in the catalogue, but not used to train the encoder.
Both lie at some distance from the known images of the category. Where there is no drift, a new image is as likely as not to lie
farther out than a held-out one. That likelihood is the common-language effect size of K. O. McGraw and S. P. Wong, Psychological
Bulletin 111 (1992), which is the Mann-Whitney U statistic over the number of pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from recsim_tasks.learning.shards import places
from recsim_tasks.learning.split import splits_of
from recsim_tasks.vectors.exact import Floats, Rows, exact_neighbours
from recsim_tasks.vectors.index import Index

# A few new images are often variants of one product, and say nothing about the delivery.
FEWEST_IMAGES = 100
# Held-out images of a category, below which a category is not measured.
FEWEST_HELD_OUT = 20
# Standard errors by which the estimate is lowered before it is compared with the limit.
STANDARD_ERRORS = 3.0
# Images of earlier releases that count, at most: what happened long ago must not outweigh what happens now.
WINDOW = 1_000
# Upper bounds of what is compared, so that the cost does not follow the size of the catalogue.
MOST_NEW, MOST_HELD_OUT, MOST_KNOWN = 2_000, 300, 2_000
NEIGHBOURS = 5
UNIFORM_VARIANCE = 1 / 12

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """How often a new image lies farther from the known images of its category than a held-out image does.

    `likelihood` is 0.5 without drift and 1 when every new image lies outside. `images` were measured, of this release and of the ones
    before it; `held_out_error` is the standard error that the choice of held-out images causes.
    """

    likelihood: float
    images: float
    held_out_error: float

    @property
    def at_least(self) -> float:
        """The likelihood, lowered by three standard errors; 0 while fewer than 100 images were measured."""
        if self.images < FEWEST_IMAGES:
            return 0.0
        error = np.hypot(np.sqrt(UNIFORM_VARIANCE / self.images), self.held_out_error)
        return max(0.0, self.likelihood - STANDARD_ERRORS * float(error))

    def as_metrics(self) -> dict[str, float]:
        """The metrics of a release that hold this drift."""
        return {"drift": self.likelihood, "drift_images": self.images, "drift_held_out_error": self.held_out_error}

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, float]) -> Self | None:
        """The drift that the metrics of a release hold; None when it was not measured."""
        if "drift" not in metrics:
            return None
        return cls(metrics["drift"], metrics["drift_images"], metrics["drift_held_out_error"])


def measure(challenger: Index, champion: Index) -> Drift | None:
    """The drift of the images that `challenger` has and `champion` has not.

    Returns None when the two have different encoders, or when no new image has a category with 20 held-out images.
    """
    if challenger.metadata["model_fingerprint"] != champion.metadata["model_fingerprint"]:
        return None
    hashes = champion.items["image_hash"].to_pylist()
    categories = np.array([name or "" for name in champion.items["category"].to_pylist()], object)
    held_out = splits_of(places(hashes)[0]) != "train"
    likelihoods: list[Values] = []
    errors: list[float] = []
    for category, rows in _new_rows(challenger, set(hashes)).items():
        mine = categories == category
        references, others = np.flatnonzero(mine & held_out), np.flatnonzero(mine & ~held_out)
        if len(references) < FEWEST_HELD_OUT or len(others) < NEIGHBOURS:
            continue
        references = _sample(references, MOST_HELD_OUT)
        known = champion.vectors_at(_sample(others, MOST_KNOWN))
        expected = _distances(champion.vectors_at(references), known)
        likelihoods.append(farther(_distances(challenger.vectors_at(rows), known), expected))
        errors.append(len(rows) ** 2 * UNIFORM_VARIANCE / len(references))
    if not likelihoods:
        return None
    together = np.concatenate(likelihoods)
    return Drift(float(together.mean()), float(len(together)), float(np.sqrt(sum(errors)) / len(together)))


def accumulate(earlier: Drift | None, latest: Drift | None) -> Drift | None:
    """The drift over several releases: of the latest alone or together with earlier ones, whichever is the more certain.

    Small deliveries add up in this way, and one bad delivery is not hidden by good ones before it. Earlier releases count as 1,000
    images at most.
    """
    if earlier is None or latest is None:
        return latest or earlier
    weight = min(earlier.images, WINDOW)
    images = weight + latest.images

    def pooled(one: float, other: float) -> float:
        return (weight * one + latest.images * other) / images

    both = Drift(
        pooled(earlier.likelihood, latest.likelihood),
        images,
        pooled(earlier.held_out_error, latest.held_out_error),  # of much the same held-out images: errors do not cancel
    )
    return max(both, latest, key=lambda drift: drift.at_least)


def farther(distances: Values, expected: Values) -> Values:
    """For each of `distances` [n], the share of `expected` [m] that is smaller, in 0..1; equal ones count as one half."""
    expected = np.sort(expected)
    smaller, not_larger = (np.searchsorted(expected, distances, side) for side in ("left", "right"))
    return np.asarray((smaller + not_larger) / (2 * len(expected)))


def _new_rows(challenger: Index, known: set[Any]) -> dict[str, Rows]:
    """Rows of at most 2,000 products whose image is not `known`, by category."""
    hashes, names = (challenger.items[name].to_pylist() for name in ("image_hash", "category"))
    rows = np.array([row for row, image_hash in enumerate(hashes) if image_hash not in known], np.int64)
    rows = _sample(rows, MOST_NEW)
    categories = np.array([names[row] or "" for row in rows], object)
    return {name: rows[categories == name] for name in sorted(set(categories.tolist()))}


def _distances(vectors: Floats, known: Floats) -> Values:
    """Mean cosine distance, 0 to 2, of each of `vectors` [n, d] from its five nearest neighbours among `known` [m, d]; [n]."""
    _, scores = exact_neighbours(known, vectors, NEIGHBOURS)
    return np.asarray(1.0 - scores.mean(axis=1, dtype=np.float64))


def _sample(rows: Rows, most: int) -> Rows:
    """At most `most` of `rows`, drawn without replacement; always the same for the same rows."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
