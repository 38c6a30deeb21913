"""Drift: whether the images that releases take in look unlike the catalogue that the encoder was trained for.

A new image is compared with held-out images of its own category: images that were in the catalogue, but not used to train the encoder.
Both lie at some distance from the known images of the category. Where there is no drift, a new image is as likely as not to lie
farther out than a held-out one. That likelihood is the common-language effect size of K. O. McGraw and S. P. Wong, Psychological
Bulletin 111 (1992), which is the Mann-Whitney U statistic over the number of pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

# A few new images are often variants of one product, and say nothing about the delivery.
FEWEST_IMAGES = 100
# Standard errors by which the estimate is lowered before it is compared with the limit.
STANDARD_ERRORS = 3.0
# Images of earlier releases that count, at most: what happened long ago must not outweigh what happens now.
WINDOW = 1_000
UNIFORM_VARIANCE = 1 / 12


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
        error = math.hypot(math.sqrt(UNIFORM_VARIANCE / self.images), self.held_out_error)
        return max(0.0, self.likelihood - STANDARD_ERRORS * error)

    def as_metrics(self) -> dict[str, float]:
        """The metrics of a release that hold this drift."""
        return {
            "drift": self.likelihood,
            "drift_images": self.images,
            "drift_held_out_error": self.held_out_error,
        }

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, float]) -> Self | None:
        """The drift that the metrics of a release hold; None when it was not measured."""
        if "drift" not in metrics:
            return None
        return cls(metrics["drift"], metrics["drift_images"], metrics["drift_held_out_error"])


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
        pooled(
            earlier.held_out_error, latest.held_out_error
        ),  # of much the same held-out images: errors do not cancel
    )
    return max(both, latest, key=lambda drift: drift.at_least)
