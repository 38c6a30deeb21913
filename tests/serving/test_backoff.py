from __future__ import annotations

from recsim_tasks.serving.backoff import Backoff
from recsim_tasks.serving.target import Problem

DAMAGED, AWAY = Problem("release_refused", "damaged"), Problem("release_unavailable", "away")


def test_only_the_version_that_failed_is_blocked_until_its_time_is_over() -> None:
    now = 100.0
    backoff = Backoff(lambda: now)
    assert backoff.blocks(1) is None
    assert backoff.failed(1, DAMAGED, 60) is DAMAGED
    now += 59.9
    assert backoff.blocks(1) is DAMAGED
    assert backoff.blocks(2) is None
    now += 0.1
    assert backoff.blocks(1) is None


def test_a_later_failure_replaces_the_earlier_one() -> None:
    backoff = Backoff(lambda: 0.0)
    backoff.failed(1, DAMAGED, 60)
    backoff.failed(2, AWAY, 10)
    assert (backoff.blocks(1), backoff.blocks(2)) == (None, AWAY)
