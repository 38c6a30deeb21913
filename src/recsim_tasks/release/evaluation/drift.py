"""Drift: whether the images that releases take in look unlike the catalogue that the encoder was trained for.

A new image is compared with held-out images of its own category: images that were in the catalogue, but not
used to train the encoder. Both lie at some distance from the known images of the category. Where there is no
drift, a new image is as likely as not to lie farther out than a held-out one. That likelihood is the common-
language effect size of K. O. McGraw and S. P. Wong, Psychological Bulletin 111 (1992), which is the Mann-
Whitney U statistic over the number of pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from recsim_tasks.contracts import Metrics

# Fewer new images are often variants of one product, which say nothing about the delivery.
MIN_IMAGES = 100
# Standard errors by which the estimate is lowered before it is compared with the limit.
STANDARD_ERRORS = 3.0
# Images of earlier releases that count, at most: what happened long ago must not outweigh what happens now.
WINDOW = 1_000
UNIFORM_VARIANCE = 1 / 12


@dataclass(frozen=True)
class Drift:
    """How often a new image lies farther from the known images of its category than a held-out image does.

    `likelihood` is 0.5 without drift and 1 when every new image lies farther out. `images` is how many images
    of this release and of the ones before it were measured; `held_out_error` is the standard error caused by
    the choice of held-out images.
    """

    likelihood: float
    images: float
    held_out_error: float

    @property
    def at_least(self) -> float:
        """The likelihood, lowered by three standard errors; 0 while fewer than 100 images were measured."""
        if self.images < MIN_IMAGES:
            return 0.0
        error = math.hypot(math.sqrt(UNIFORM_VARIANCE / self.images), self.held_out_error)
        return max(0.0, self.likelihood - STANDARD_ERRORS * error)

    def as_metrics(self) -> dict[str, float]:
        """The fields of `Metrics` that carry this drift."""
        return {
            "drift": self.likelihood,
            "drift_images": self.images,
            "drift_held_out_error": self.held_out_error,
        }

    @classmethod
    def of_metrics(cls, metrics: Metrics) -> Self | None:
        """The drift in the metrics of a release; None if it was not measured."""
        if metrics.drift is None or metrics.drift_images is None or metrics.drift_held_out_error is None:
            return None
        return cls(metrics.drift, metrics.drift_images, metrics.drift_held_out_error)


def accumulate(earlier: Drift | None, latest: Drift | None) -> Drift | None:
    """Pool the drift of the latest release with that of earlier ones.

    Returns the latest alone if that is higher after its uncertainty is subtracted: so small deliveries add
    up, and good deliveries do not hide a bad one after them. Earlier releases count as at most 1,000 images.
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
        # Both use much the same held-out images: their errors do not cancel.
        pooled(earlier.held_out_error, latest.held_out_error),
    )
    return max(both, latest, key=lambda drift: drift.at_least)
