from __future__ import annotations

from recsim_tasks.release.evaluation.drift import WINDOW, Drift, accumulate
from release.bundles import METRICS

LIMIT = 0.55


def test_one_bad_delivery_is_not_hidden_by_many_good_ones() -> None:
    good, bad = Drift(0.5, 50_000, 0.01), Drift(0.9, 200, 0.01)
    assert accumulate(good, bad) == bad
    assert accumulate(None, bad) == accumulate(bad, None) == bad
    assert accumulate(None, None) is None


def test_earlier_releases_are_forgotten_in_time() -> None:
    total: Drift | None = Drift(0.9, 50_000, 0.0)
    for _ in range(40):
        total = accumulate(total, Drift(0.5, 200, 0.0))
    assert total is not None
    assert total.at_least < LIMIT
    assert total.images == WINDOW + 200


def test_the_metrics_of_a_release_carry_its_drift() -> None:
    drift = Drift(0.61, 300.0, 0.012)
    assert Drift.of_metrics(METRICS.model_copy(update=drift.as_metrics())) == drift
    assert Drift.of_metrics(METRICS) is None
