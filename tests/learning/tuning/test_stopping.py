from __future__ import annotations

from recsim_tasks.learning.tuning.stopping import hopeless, stale

FINISHED = [[0.2, 0.4, 0.6], [0.3, 0.5, 0.7], [0.1, 0.3, 0.5]]


def test_a_trial_below_the_median_of_the_others_averages_ends() -> None:
    # After two rounds the others averaged 0.2, 0.3 and 0.4.
    assert hopeless([0.1, 0.29], FINISHED)
    assert not hopeless([0.1, 0.31], FINISHED)


def test_the_best_of_a_trial_counts_not_its_last() -> None:
    assert not hopeless([0.35, 0.1], FINISHED)


def test_of_two_finished_trials_the_median_says_nothing() -> None:
    assert not hopeless([0.0], FINISHED[:2])
    assert not hopeless([0.0, 0.0], [*FINISHED[:2], [0.9]]), (
        "one that itself was ended early is no comparison"
    )
    assert not hopeless([], FINISHED)


def test_a_search_goes_stale_after_ten_trials_without_a_better_one() -> None:
    assert not stale([0.5] * 10)
    assert stale([0.5] + [0.4] * 10)
    assert stale([0.5] + [0.5] * 10)
    assert not stale([0.5] + [0.4] * 9 + [0.6])
    assert not stale([])
