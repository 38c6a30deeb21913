from __future__ import annotations

from recsim_tasks.learning.tuning.stopping import should_stop_search, should_stop_trial

FINISHED = [[0.2, 0.4, 0.6], [0.3, 0.5, 0.7], [0.1, 0.3, 0.5]]


def test_a_trial_below_the_median_of_the_others_means_ends() -> None:
    # After two rounds the others averaged 0.2, 0.3 and 0.4.
    assert should_stop_trial([0.1, 0.29], FINISHED)
    assert not should_stop_trial([0.1, 0.31], FINISHED)


def test_the_best_of_a_trial_counts_not_its_last() -> None:
    assert not should_stop_trial([0.35, 0.1], FINISHED)


def test_two_finished_trials_are_too_few() -> None:
    assert not should_stop_trial([0.0], FINISHED[:2])
    assert not should_stop_trial([0.0, 0.0], [*FINISHED[:2], [0.9]]), (
        "a trial that was pruned earlier does not count"
    )
    assert not should_stop_trial([], FINISHED)


def test_a_search_stops_after_ten_trials_without_a_better_one() -> None:
    assert not should_stop_search([0.5] * 10)
    assert should_stop_search([0.5] + [0.4] * 10)
    assert should_stop_search([0.5] + [0.5] * 10)
    assert not should_stop_search([0.5] + [0.4] * 9 + [0.6])
    assert not should_stop_search([])
