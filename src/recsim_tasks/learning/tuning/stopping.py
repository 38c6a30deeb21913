"""End trials that will not win early, and a search that finds nothing better. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

# Of fewer trials the median says little.
LEAST_FINISHED = 3
PATIENCE = 10


def hopeless(curve: Sequence[float], finished: Sequence[Sequence[float]]) -> bool:
    """Whether a trial is to end: its best so far is below the median of what finished trials averaged up to the same round.

    The median stopping rule of D. Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, section 3.2.2;
    larger is better.
    """
    done = len(curve)
    if not done:
        return False
    comparable = [fmean(other[:done]) for other in finished if len(other) >= done]
    return len(comparable) >= LEAST_FINISHED and max(curve) < median(comparable)


def stale(scores: Sequence[float]) -> bool:
    """Whether the last ten of a search's scores, in the order in which they came, brought nothing better than those before."""
    return len(scores) > PATIENCE and max(scores[-PATIENCE:]) <= max(scores[:-PATIENCE])
