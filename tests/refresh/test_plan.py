from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import ConfigurationError, InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.plan import Champion, Decision, Facts, Mode, check_pool, decide, lines
from recsim_tasks.release.evaluation.drift import Drift

NOTHING = {"insert": 0, "replace": 0, "update": 0, "delete": 0}
SOMETHING = NOTHING | {"insert": 2, "delete": 1}
SAME = "No product changed since version 3 of the catalogue."
CHANGED = "Changes since version 3 up to 5: 2 insert, 1 delete."
CHAMPION = Champion(
    cursor=Cursor("t", 3), built=1000, churn=10, recall=1.0, model_days=1.0, unseen=0, categories=frozenset({"shoe", "bag"}), drift=Drift(0.51, 1_000, 0.01),
    kind="cnn from 64 x 64 x 3 to 128",
)  # fmt: skip
QUIET = Facts(CHAMPION, Cursor("t", 5), NOTHING, None, {"shoe": 600, "bag": 400}, 1000)
BUSY = replace(QUIET, changes=SOMETHING)
LOST = replace(BUSY, lost="The feed is off.")
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
            "500 products came, were replaced or went since the index was built of 1,000: 50%, where 50% is the limit (RECSIM_REBUILD_CHURN).",
            CHANGED,
        ],
    ),
    "churn below the limit": (but(churn=496), "append", [CHANGED]),
    "other fields are no churn": (
        replace(but(churn=499), changes=NOTHING | {"update": 900}),
        "append",
        ["Changes since version 3 up to 5: 900 update."],
    ),
    "an index built of nothing": (
        but(built=0, churn=0),
        "rebuild",
        [
            "3 products came, were replaced or went since the index was built of 0: 300%, where 50% is the limit (RECSIM_REBUILD_CHURN).",
            CHANGED,
        ],
    ),
    "sagging recall": (
        but(recall=0.9799),
        "rebuild",
        [
            "The champion's index found 0.9799 of the exact ten nearest, less than 0.98 (RECSIM_REBUILD_RECALL).",
            CHANGED,
        ],
    ),
    "sagging recall without a change": (
        but(QUIET, recall=0.9),
        "rebuild",
        [
            "The champion's index found 0.9000 of the exact ten nearest, less than 0.98 (RECSIM_REBUILD_RECALL).",
            SAME,
        ],
    ),
    "poor recall of an index that was just built": (but(QUIET, recall=0.9, churn=0), "skip", [SAME]),
    "recall at the limit": (but(recall=0.98), "append", [CHANGED]),
    "lists that became unequal": (
        but(imbalance=1.51),
        "rebuild",
        [
            "The lists of the champion's index have become unequal, a query looks at 1.51 times as much as when it was built, "
            "more than 1.5 (RECSIM_REBUILD_IMBALANCE).",
            CHANGED,
        ],
    ),
    "lists at the limit": (but(imbalance=1.5), "append", [CHANGED]),
    "an append that the gate holds": (
        replace(BUSY, held="The gate holds it."),
        "rebuild",
        ["The gate holds it.", CHANGED],
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
        ["30% of the images came after the training, more than 30% (RECSIM_RETRAIN_UNSEEN_SHARE).", CHANGED],
    ),
    "unseen images at the limit": (but(unseen=298), "append", [CHANGED]),
    "new category": (
        replace(BUSY, categories={"shoe": 400, "hat": 100, "tie": 99}),
        "retrain",
        [
            "The model was not trained on category 'hat', which has 100 products; 100 are enough (RECSIM_RETRAIN_CATEGORY_PRODUCTS).",
            CHANGED,
        ],
    ),
    "a new category that is small": (replace(BUSY, categories={"hat": 99}), "append", [CHANGED]),
    "drift": (
        but(drift=Drift(0.71, 300, 0.0)),
        "retrain",
        [
            "The new images drift: 0.71 is the likelihood that one of them lies farther from the known images of its category than a "
            "held-out image does (300 images, at least 0.660, 0.5 without drift); 0.55 is the limit (RECSIM_RETRAIN_DRIFT).",
            CHANGED,
        ],
    ),
    "drift that may be chance": (but(drift=Drift(0.59, 300, 0.0)), "append", [CHANGED]),
    "drift of too few images": (but(drift=Drift(1.0, 99, 0.0)), "append", [CHANGED]),
    "drift that was not measured": (but(drift=None), "append", [CHANGED]),
    "every reason, strongest first": (
        replace(but(model_days=91, recall=0.5), lost="The feed is off."),
        "retrain",
        [
            "The model is 91 days old, more than 90 (RECSIM_RETRAIN_DAYS).",
            "The feed is off.",
            "The champion's index found 0.5000 of the exact ten nearest, less than 0.98 (RECSIM_REBUILD_RECALL).",
            COMPARED,
        ],
    ),
}


@pytest.mark.parametrize(("facts", "decision", "reasons"), CASES.values(), ids=CASES)
def test_the_strongest_refresh_with_a_reason_is_planned_with_every_reason(
    facts: Facts, decision: str, reasons: list[str], settings: Settings
) -> None:
    made = decide(facts, settings)
    assert (made.decision, made.reasons) == (decision, reasons)


@pytest.mark.parametrize("mode", ["append", "rebuild", "retrain"])
@pytest.mark.parametrize(
    "facts", [QUIET, BUSY, but(model_days=91, churn=900)], ids=["nothing", "changes", "retrain needed"]
)
def test_a_mode_that_is_possible_overrules(mode: Mode, facts: Facts, settings: Settings) -> None:
    made = decide(facts, settings, mode)
    assert (made.decision, made.reasons) == (
        mode,
        [f"Mode {mode} was asked for.", *decide(facts, settings).reasons],
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


def test_a_plan_is_printed_in_a_few_lines() -> None:
    planned = {
        "refresh_id": "r",
        "decision": "append",
        "reasons": [CHANGED],
        "head": {"version": 5},
        "changes": SOMETHING,
    }
    assert lines(planned | {"estimate": {"images": 1200, "minutes": 1.7}}) == [
        "Plan of r: append, for version 5 of the catalogue.",
        f"  because: {CHANGED}",
        "  changes: 2 insert, 1 delete",
        "  expected: 1,200 images to embed; about 1.7 minutes, as the last of this kind",
    ]
    assert lines(planned | {"estimate": {"images": 0, "minutes": None}})[-1].endswith(
        "no finished refresh of this kind tells the time"
    )


OLD = but(model_days=100)


def test_training_starts_anew_unless_it_is_asked_to_start_from_the_champion(settings: Settings) -> None:
    assert not decide(OLD, settings).warm_start
    made = decide(OLD, settings.model_copy(update={"warm_start": True}))
    assert made.warm_start
    assert made.reasons[-1] == "Training starts from the champion's weights (RECSIM_WARM_START)."


def test_a_champion_of_another_kind_is_no_start(settings: Settings) -> None:
    made = decide(OLD, settings.model_copy(update={"warm_start": True, "backbone": "resnet18"}))
    assert not made.warm_start
    assert made.reasons[-1] == (
        "Training starts anew: the champion's model is a cnn from 64 x 64 x 3 to 128, asked for is a resnet18 from 64 x 64 x 3 to 128."
    )


def test_only_a_training_starts_from_anything(settings: Settings) -> None:
    assert not decide(BUSY, settings.model_copy(update={"warm_start": True})).warm_start
    assert not decide(CASES["no champion"][0], settings.model_copy(update={"warm_start": True})).warm_start


@pytest.mark.parametrize(
    ("update", "said"),
    [
        (
            {"ranks": 3},
            r"RECSIM_RANKS asks for 3 slots of gpu_pool, which has 2: .*local\[2\] \(RECSIM_SPARK_MASTER\)",
        ),
        ({"tune_parallel": 3}, "RECSIM_TUNE_PARALLEL asks for 3 slots of gpu_pool, which has 2"),
        ({"ranks": 2, "gpus": 1}, "RECSIM_RANKS asks for 2 slots of gpu_pool, which has 1: one a GPU"),
    ],
)
def test_a_training_that_asks_for_more_devices_than_there_are_is_refused_when_it_is_planned(
    update: dict[str, int], said: str, settings: Settings
) -> None:
    too_much = settings.model_copy(update=update)
    with pytest.raises(ConfigurationError, match=said):
        decide(OLD, too_much)
    assert decide(BUSY, too_much).decision == "append", "what trains nothing asks for no device"


@pytest.mark.parametrize(
    ("decision", "update", "slots", "said"),
    [
        (
            "retrain",
            {"ranks": 2, "tune_parallel": 1},
            1,
            "RECSIM_RANKS asks for 2 slots of gpu_pool, which has 1 in Airflow.*airflow pools set",
        ),
        ("retrain", {"ranks": 1, "tune_parallel": 2}, 1, "RECSIM_TUNE_PARALLEL asks for 2"),
        ("retrain", {}, 0, "which has 0 in Airflow"),
        ("append", {"gpus": 4, "spark_master": "spark://there:7077"}, 2, "RECSIM_GPUS asks for 4"),
    ],
)
def test_a_task_for_which_the_pool_is_too_small_is_refused_when_it_is_planned(
    decision: Decision, update: dict[str, Any], slots: int, said: str, settings: Settings
) -> None:
    asked = settings.model_copy(update=update)
    with pytest.raises(ConfigurationError, match=said):
        check_pool(decision, asked, slots)
    check_pool(decision, asked, 4)
    check_pool(decision, asked, None)
    check_pool("skip", asked, slots)


def test_another_master_than_a_local_one_is_asked_for_as_many_as_are_wanted(settings: Settings) -> None:
    assert (
        decide(OLD, settings.model_copy(update={"ranks": 8, "spark_master": "spark://there:7077"})).decision
        == "retrain"
    )
