"""Early stopping: of trials that will not win, and of a search that makes no progress. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

# The median of fewer trials says little.
MIN_FINISHED_TRIALS = 3
PATIENCE = 10


def should_stop_trial(curve: Sequence[float], finished: Sequence[Sequence[float]]) -> bool:
    """Whether a trial's best score is below the median of the finished trials' means up to the same round.

    The median stopping rule of D. Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD
    2017, section 3.2.2; larger is better.
    """
    done = len(curve)
    if not done:
        return False
    comparable = [fmean(other[:done]) for other in finished if len(other) >= done]
    return len(comparable) >= MIN_FINISHED_TRIALS and max(curve) < median(comparable)


def should_stop_search(scores: Sequence[float]) -> bool:
    """Whether the last ten scores of a search, in order of arrival, are no better than the best before.

    `hyperopt.early_stop.no_progress_loss` does not fit: it reads the loss of the last document in the list,
    which a failed or running trial does not have; it counts its own calls, one per poll, instead of trials;
    and it starts at 0 when a killed search resumes.
    """
    return len(scores) > PATIENCE and max(scores[-PATIENCE:]) <= max(scores[:-PATIENCE])
