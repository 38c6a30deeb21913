from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from recsim_tasks.contracts import Cursor, Decision, Estimate, PlanResult
from recsim_tasks.foundation.errors import ConfigurationError, InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.plan import Champion, Facts, Mode, check_pool, decide, report
from recsim_tasks.release.evaluation.drift import Drift

NOTHING = {"insert": 0, "replace": 0, "update": 0, "delete": 0}
SOMETHING = NOTHING | {"insert": 2, "delete": 1}
SAME = "No product changed since version 3 of the catalogue."
CHANGED = "Changes from version 3 to 5: 2 insert, 1 delete."
CHAMPION = Champion(
    cursor=Cursor("t", 3),
    built=1000,
    churn=10,
    recall=1.0,
    model_days=1.0,
    unseen=0,
    categories=frozenset({"shoe", "bag"}),
    drift=Drift(0.51, 1_000, 0.01),
    kind="cnn from 64 x 64 x 3 to 128",
)
QUIET = Facts(CHAMPION, Cursor("t", 5), NOTHING, None, {"shoe": 600, "bag": 400}, 1000)
BUSY = replace(QUIET, changes=SOMETHING)
LOST = replace(BUSY, change_feed_gap="The feed is off.")
COMPARED = "Compared with the champion's index, the catalogue at version 5 has: 2 insert, 1 delete."


def but(facts: Facts = BUSY, **champion: object) -> Facts:
    return replace(facts, champion=replace(CHAMPION, **champion))  # type: ignore[arg-type]


CASES: dict[str, tuple[Facts, str, list[str]]] = {
    "nothing": (QUIET, "skip", [SAME]),
    "changes": (BUSY, "append", [CHANGED]),
    "no champion": (
        Facts(None, Cursor("t", 3), NOTHING | {"insert": 9}),
        "retrain",
        ["No release is in Production yet."],
    ),
    "lost range": (LOST, "rebuild", ["The feed is off.", COMPARED]),
    "lost range without a difference": (
        replace(LOST, changes=NOTHING),
        "rebuild",
        ["The feed is off.", SAME],
    ),
    "churn at the limit": (
        but(churn=497),
        "rebuild",
        [
            (
                "500 products were added, replaced or removed since the index was built with 1,000: 50%, the "
                "limit is 50% (RECSIM_REBUILD_CHURN)."
            ),
            CHANGED,
        ],
    ),
    "churn below the limit": (but(churn=496), "append", [CHANGED]),
    "other fields are no churn": (
        replace(but(churn=499), changes=NOTHING | {"update": 900}),
        "append",
        ["Changes from version 3 to 5: 900 update."],
    ),
    "an index built of nothing": (
        but(built=0, churn=0),
        "rebuild",
        [
            (
                "3 products were added, replaced or removed since the index was built with 0: 300%, "
                "the limit is 50% (RECSIM_REBUILD_CHURN)."
            ),
            CHANGED,
        ],
    ),
    "sagging recall": (
        but(recall=0.9799),
        "rebuild",
        [
            (
                "The champion's index found 0.9799 of the exact ten nearest neighbours, less than 0.98 "
                "(RECSIM_REBUILD_RECALL)."
            ),
            CHANGED,
        ],
    ),
    "sagging recall without a change": (
        but(QUIET, recall=0.9),
        "rebuild",
        [
            (
                "The champion's index found 0.9000 of the exact ten nearest neighbours, less than 0.98 "
                "(RECSIM_REBUILD_RECALL)."
            ),
            SAME,
        ],
    ),
    "poor recall of an index that was just built": (but(QUIET, recall=0.9, churn=0), "skip", [SAME]),
    "recall at the limit": (but(recall=0.98), "append", [CHANGED]),
    "lists that became unequal": (
        but(imbalance=1.51),
        "rebuild",
        [
            "The lists of the champion's index have become unequal: a query scans 1.51 times as much as "
            "when it was built, "
            "more than 1.5 (RECSIM_REBUILD_IMBALANCE).",
            CHANGED,
        ],
    ),
    "lists at the limit": (but(imbalance=1.5), "append", [CHANGED]),
    "an append that the gate rejected": (
        replace(BUSY, rejected_append="The gate rejected it."),
        "rebuild",
        ["The gate rejected it.", CHANGED],
    ),
    "old model": (
        but(model_days=90.6),
        "retrain",
        ["The model is 91 days old, more than 90 (RECSIM_RETRAIN_DAYS).", CHANGED],
    ),
    "old model without a change": (
        but(QUIET, model_days=400),
        "retrain",
        ["The model is 400 days old, more than 90 (RECSIM_RETRAIN_DAYS).", SAME],
    ),
    "model at the limit": (but(model_days=90), "append", [CHANGED]),
    "unseen images": (
        but(unseen=299),
        "retrain",
        [
            "30% of the images are newer than the training, more than 30% (RECSIM_RETRAIN_UNSEEN_SHARE).",
            CHANGED,
        ],
    ),
    "unseen images at the limit": (but(unseen=298), "append", [CHANGED]),
    "new category": (
        replace(BUSY, categories={"shoe": 400, "hat": 100, "tie": 99}),
        "retrain",
        [
            (
                "The model was not trained on category 'hat', which has 100 products; "
                "100 are enough to train on it (RECSIM_RETRAIN_CATEGORY_PRODUCTS)."
            ),
            CHANGED,
        ],
    ),
    "a new category that is small": (replace(BUSY, categories={"hat": 99}), "append", [CHANGED]),
    "drift": (
        but(drift=Drift(0.71, 300, 0.0)),
        "retrain",
        [
            "The new images drift: with a likelihood of 0.71, one of them lies farther from the known images "
            "of its category than a held-out image does (300 images, at least 0.660, 0.5 without drift); the "
            "limit is 0.55 (RECSIM_RETRAIN_DRIFT).",
            CHANGED,
        ],
    ),
    "drift that may be chance": (but(drift=Drift(0.59, 300, 0.0)), "append", [CHANGED]),
    "drift of too few images": (but(drift=Drift(1.0, 99, 0.0)), "append", [CHANGED]),
    "drift that was not measured": (but(drift=None), "append", [CHANGED]),
    "every reason, strongest first": (
        replace(but(model_days=91, recall=0.5), change_feed_gap="The feed is off."),
        "retrain",
        [
            "The model is 91 days old, more than 90 (RECSIM_RETRAIN_DAYS).",
            "The feed is off.",
            (
                "The champion's index found 0.5000 of the exact ten nearest neighbours, less than 0.98 "
                "(RECSIM_REBUILD_RECALL)."
            ),
            COMPARED,
        ],
    ),
}


@pytest.mark.parametrize(("facts", "decision", "reasons"), CASES.values(), ids=CASES)
def test_the_strongest_refresh_with_a_reason_is_planned_with_every_reason(
    facts: Facts, decision: str, reasons: list[str], settings: Settings
) -> None:
    plan = decide(facts, settings)
    assert (plan.decision, plan.reasons) == (decision, reasons)


@pytest.mark.parametrize("mode", ["append", "rebuild", "retrain"])
@pytest.mark.parametrize(
    "facts", [QUIET, BUSY, but(model_days=91, churn=900)], ids=["nothing", "changes", "retrain needed"]
)
def test_a_possible_mode_overrides_the_decision(mode: Mode, facts: Facts, settings: Settings) -> None:
    plan = decide(facts, settings, mode)
    assert (plan.decision, plan.reasons) == (
        mode,
        [f"Mode {mode} was requested.", *decide(facts, settings).reasons],
    )


@pytest.mark.parametrize(
    ("facts", "mode"),
    [
        (Facts(None, Cursor("t", 1), NOTHING), "append"),
        (Facts(None, Cursor("t", 1), NOTHING), "rebuild"),
        (LOST, "append"),
    ],
)
def test_a_mode_that_is_impossible_is_refused_with_what_to_do(
    facts: Facts, mode: Mode, settings: Settings
) -> None:
    with pytest.raises(InputError, match=rf"Mode {mode} is not possible: .* Run with mode re"):
        decide(facts, settings, mode)


def test_a_plan_is_reported_in_a_few_lines() -> None:
    plan = PlanResult(
        refresh_id="r",
        decision="append",
        reasons=[CHANGED],
        warm_start=False,
        cursor=None,
        head=Cursor("t", 5),
        changes=SOMETHING,
        champion=None,
        champion_unreadable=None,
        estimate=Estimate(images=1200, minutes=1.7),
    )
    assert report(plan) == [
        "Plan of r: append, for version 5 of the catalogue.",
        f"  because: {CHANGED}",
        "  changes: 2 insert, 1 delete",
        "  expected: 1,200 images to embed; about 1.7 minutes, like the last refreshes of this kind",
    ]
    first = plan.model_copy(update={"estimate": Estimate(images=0, minutes=None)})
    assert report(first)[-1].endswith("no earlier refresh of this kind to estimate the time from")


OLD = but(model_days=100)


def test_training_starts_from_scratch_unless_the_settings_say_from_the_champion(settings: Settings) -> None:
    assert not decide(OLD, settings).warm_start
    plan = decide(OLD, settings.model_copy(update={"warm_start": True}))
    assert plan.warm_start
    assert plan.reasons[-1] == "Training starts from the champion's weights (RECSIM_WARM_START)."


def test_a_champion_of_another_kind_is_no_start(settings: Settings) -> None:
    plan = decide(OLD, settings.model_copy(update={"warm_start": True, "backbone": "resnet18"}))
    assert not plan.warm_start
    assert plan.reasons[-1] == (
        "Training starts from scratch: the champion's model is cnn from 64 x 64 x 3 to 128, "
        "the settings ask for resnet18 from 64 x 64 x 3 to 128."
    )


def test_only_a_training_starts_from_anything(settings: Settings) -> None:
    assert not decide(BUSY, settings.model_copy(update={"warm_start": True})).warm_start
    assert not decide(CASES["no champion"][0], settings.model_copy(update={"warm_start": True})).warm_start


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (
            {"ranks": 3},
            r"RECSIM_RANKS needs 3 slots of gpu_pool, which has 2: .*local\[2\] \(RECSIM_SPARK_MASTER\)",
        ),
        ({"tune_parallel": 3}, "RECSIM_TUNE_PARALLEL needs 3 slots of gpu_pool, which has 2"),
        ({"ranks": 2, "gpus": 1}, "RECSIM_RANKS needs 2 slots of gpu_pool, which has 1: one for each GPU"),
    ],
)
def test_the_plan_refuses_a_training_that_needs_too_many_devices(
    update: dict[str, int], message: str, settings: Settings
) -> None:
    too_much = settings.model_copy(update=update)
    with pytest.raises(ConfigurationError, match=message):
        decide(OLD, too_much)
    assert decide(BUSY, too_much).decision == "append", "what trains nothing asks for no device"


@pytest.mark.parametrize(
    ("decision", "update", "slots", "message"),
    [
        (
            "retrain",
            {"ranks": 2, "tune_parallel": 1},
            1,
            "RECSIM_RANKS needs 2 slots of gpu_pool, which has 1 in Airflow.*airflow pools set",
        ),
        ("retrain", {"ranks": 1, "tune_parallel": 2}, 1, "RECSIM_TUNE_PARALLEL needs 2"),
        ("retrain", {}, 0, "which has 0 in Airflow"),
        ("append", {"gpus": 4, "spark_master": "spark://there:7077"}, 2, "RECSIM_GPUS needs 4"),
    ],
)
def test_the_plan_refuses_a_task_that_needs_more_slots_than_the_pool_has(
    decision: Decision, update: dict[str, Any], slots: int, message: str, settings: Settings
) -> None:
    changed = settings.model_copy(update=update)
    with pytest.raises(ConfigurationError, match=message):
        check_pool(decision, changed, slots)
    check_pool(decision, changed, 4)
    check_pool(decision, changed, None)
    check_pool("skip", changed, slots)


def test_a_cluster_may_be_asked_for_any_number_of_ranks(settings: Settings) -> None:
    assert (
        decide(OLD, settings.model_copy(update={"ranks": 8, "spark_master": "spark://there:7077"})).decision
        == "retrain"
    )
