from __future__ import annotations

import pytest

from recsim_tasks.contracts import Cursor, Decision, Estimate, PlanResult


@pytest.mark.parametrize(
    ("decision", "reasons", "estimate", "summary"),
    [
        ("skip", [], Estimate(images=0, minutes=0.1), "skip"),
        (
            "append",
            ["12 products changed."],
            Estimate(images=12, minutes=1.5),
            "append: 12 products changed. (about 1.5 min, 12 images to embed)",
        ),
        (
            "retrain",
            ["No release.", "A new category."],
            Estimate(images=60_000, minutes=None),
            "retrain: No release. A new category. (60,000 images to embed)",
        ),
    ],
)
def test_the_summary_of_a_plan(
    decision: Decision, reasons: list[str], estimate: Estimate, summary: str
) -> None:
    plan = PlanResult(
        refresh_id="r",
        decision=decision,
        reasons=reasons,
        warm_start=False,
        cursor=None,
        head=Cursor("t", 0),
        changes={},
        champion=None,
        champion_unreadable=None,
        estimate=estimate,
    )
    assert plan.summary == summary
