"""The refresh through a real scheduler, triggerer and dag-processor; a stand-in does the jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.airflow

DAG = "recsim_refresh"


def skipped(states: dict[str, str]) -> set[str]:
    return {task.split(".")[0] for task, state in states.items() if state == "skipped"}


def test_a_landed_feed_starts_a_refresh_by_itself(shop: Shop) -> None:
    before, before_said, head = shop.runs(), len(shop.commands()), shop.head()
    (shop.inbox / "still-being-written").mkdir()
    time.sleep(3)
    assert shop.runs() == before, "a feed without its manifest is still being written"
    shop.land("feed-1")
    state, states, run_id = shop.next_run(before)
    assert run_id.startswith("asset_triggered__")
    assert state == "success"
    assert skipped(states) == {"approve_feed", "answer_feed", "up_to_date", "rebuild", "retrain"}
    assert shop.airflow.xcom(DAG, run_id, "append.embed") == {"embedded": 3, "reused": 0, "of": 3}
    assert shop.airflow.xcom(DAG, run_id, "append.embed", "reason") == "embedded 3 of 3, reused 0"
    release = len(shop.releases())
    assert [line.split(" as ")[0] for line in shop.commands()[before_said:]] == [
        *("ingest", "plan --mode auto --pool-slots=2", "embed", "index append", "evaluate", "register"),
        *(f"promote --version {release} --by refresh --through=airflow", f"verify --version {release}"),
    ]
    reasons = {
        task["task_id"]: task["rendered_map_index"] for task in shop.airflow.task_instances(DAG, run_id)
    }
    assert reasons["plan"] == reasons["decide"] == "append: 3 products changed. (3 images to embed)"
    now = shop.head()["version"]
    assert now == head["version"] + 1
    assert reasons["await_catalogue"].endswith(f"is at version {now}; {now} was asked for.")
    assert shop.airflow.xcom(DAG, run_id, "await_catalogue")["end_version"] == now
    assert shop.airflow.asset_state("recsim_catalogue_commits")["committed"] == shop.head()
    inbox = shop.airflow.asset_state("recsim_feed_inbox")
    assert inbox["heard"]["at"] > inbox["announced"]["at"], (
        "else the feed would be announced again, for nothing"
    )


def test_nothing_changed_is_a_success_that_does_nothing(shop: Shop) -> None:
    state, states, run_id = shop.run()
    assert state == "success"
    assert {task for task, its in states.items() if its == "success"} == {
        "ingest",
        "await_catalogue",
        "plan",
        "decide",
        "up_to_date",
    }
    assert skipped(states) == {
        *(
            "approve_feed",
            "answer_feed",
            "append",
            "rebuild",
            "retrain",
            "evaluate",
            "register",
            "approve",
            "promote",
            "verify",
        )
    }
    assert shop.airflow.xcom(DAG, run_id, "await_catalogue")["n_commits"] == 0
    assert shop.airflow.xcom(DAG, run_id, "up_to_date", "reason").endswith(
        f"at version {shop.head()['version']}"
    )


def test_a_retrain_goes_through_the_gpu_pool_with_the_trials_of_the_form(shop: Shop) -> None:
    shop.order(plan={"result": {"decision": "retrain", "reasons": ["Mode retrain was asked for."]}})
    state, states, run_id = shop.run({"mode": "retrain", "trials": 9})
    assert state == "success"
    assert skipped(states) == {"approve_feed", "answer_feed", "up_to_date", "append", "rebuild"}
    said = [line.split(" as ")[0] for line in shop.commands()]
    assert "plan --mode retrain --pool-slots=2" in said
    assert "tune --trials 9" in said
    pools = {task["task_id"]: task["pool"] for task in shop.airflow.task_instances(DAG, run_id)}
    assert pools["retrain.tune"] == pools["retrain.train"] == "gpu_pool"


def test_the_plan_knows_how_many_slots_the_pool_has_in_airflow(shop: Shop) -> None:
    """A task that asks for more than there are is never started, and Airflow says so in the scheduler's log alone."""
    pool = {"name": "gpu_pool", "slots": 1, "include_deferred": False}
    shop.order(
        plan={
            "exit_code": 2,
            "result": {"error": "RECSIM_RANKS asks for 2 slots of gpu_pool, which has 1 in Airflow."},
        }
    )
    shop.airflow._call("PATCH", "/pools/gpu_pool", pool)
    try:
        state, states, _ = shop.run({"mode": "retrain"})
        assert (state, states["plan"]) == ("failed", "failed")
        assert "plan --mode retrain --pool-slots=1" in [line.split(" as ")[0] for line in shop.commands()]
    finally:
        shop.airflow._call("PATCH", "/pools/gpu_pool", {**pool, "slots": 2})


def test_a_held_release_is_red_says_why_and_goes_no_further(shop: Shop) -> None:
    held = {"verdict": "hold", "reasons": ["Precision fell."], "error": "Precision fell.", "exit_code": 3}
    append = {"result": {"decision": "append", "reasons": ["3 products changed."]}}
    shop.order(plan=append, evaluate={"exit_code": 3, "result": held})
    state, states, run_id = shop.run()
    assert state == "failed"
    assert states["evaluate"] == "failed"
    assert {states[task] for task in ("register", "approve", "promote", "verify")} == {"upstream_failed"}
    assert shop.airflow.xcom(DAG, run_id, "evaluate", "reason") == "Held: Precision fell."
    assert shop.airflow.xcom(DAG, run_id, "evaluate")["verdict"] == "hold"
    (evaluate,) = (task for task in shop.airflow.task_instances(DAG, run_id) if task["task_id"] == "evaluate")
    assert evaluate["try_number"] == 1


def test_a_misspelt_run_setting_is_refused_before_anything_is_done(shop: Shop) -> None:
    before = shop.commands()
    state, states, run_id = shop.run({"trails": 9})
    assert (state, states["ingest"]) == ("failed", "failed")
    assert shop.airflow.xcom(DAG, run_id, "ingest", "reason").startswith("Unknown run setting trails.")
    assert shop.commands() == before


def test_marking_a_task_as_failed_ends_its_job(shop: Shop) -> None:
    shop.order(ingest={"sleep": 600})
    before = len(shop.commands())
    run_id = shop.airflow.trigger(DAG)
    deadline = time.monotonic() + 60
    while len(shop.commands()) == before and time.monotonic() < deadline:
        time.sleep(0.2)
    job = psutil.Process(int(shop.commands()[-1].split()[-1]))
    shop.airflow.set_state(DAG, run_id, "ingest", "failed")
    job.wait(timeout=30)
    shop.order()
    assert shop.end(run_id)[0] == "failed"


def waiting(shop: Shop) -> str:
    """A refresh that asks before it promotes, and waits for the answer."""
    shop.order(plan={"result": {"decision": "append", "reasons": ["3 products changed."]}})
    run_id = shop.airflow.trigger(DAG, {"approval": "ask"})
    shop.asked(run_id, "approve")
    return run_id


def test_a_release_is_promoted_when_somebody_who_saw_the_verdict_approves(shop: Shop) -> None:
    run_id = waiting(shop)
    asked = shop.airflow.hitl_details(DAG, run_id, "approve")
    release = len(shop.releases())
    assert asked["subject"] == f"Release {release}: put it into Production?"
    assert "| Precision@1 no worse than the champion | 0.8 | 0.79 | +0.0100 (+0.0020 to +0.0180) |" in asked[
        "body"
    ].replace("\\", "")
    shop.answer(run_id, "approve", "Approve")
    state, _, _ = shop.end(run_id)
    assert state == "success"
    assert (
        f"promote --version {release} --by {shop.airflow.username} --through=airflow --answered-at=20"
        in "\n".join(shop.commands())
    )
    assert "register --ask" in "\n".join(shop.commands())
    assert (
        shop.airflow.xcom(DAG, run_id, "approve", "reason")
        == f"approved by {shop.airflow.username}: release {release}"
    )


def test_a_release_that_is_rejected_is_not_promoted_until_a_person_who_is_asked_again_approves(
    shop: Shop,
) -> None:
    before, user = shop.champion, shop.airflow.username
    run_id = waiting(shop)
    release = len(shop.releases())
    shop.answer(run_id, "approve", "Reject")
    state, states, _ = shop.end(run_id)
    assert (state, states["approve"], states["promote"], states["verify"]) == (
        "failed",
        "success",
        "failed",
        "upstream_failed",
    )
    assert shop.airflow.xcom(DAG, run_id, "approve", "reason") == f"rejected by {user}: release {release}"
    assert (
        shop.airflow.xcom(DAG, run_id, "promote", "reason")
        == f"Held: Release {release} stays in Staging: {user} rejected it."
    )
    shop.clear(run_id, "promote")
    assert shop.end(run_id)[0] == "failed"
    last = shop.commands()[-1].split(" as ")[0]
    assert last.startswith(f"promote --version {release} --by {user} --through=airflow --answered-at=20")
    assert last.endswith(" --reject")
    assert shop.champion == before
    shop.clear(run_id, "approve")
    shop.asked(run_id, "approve")
    shop.answer(run_id, "approve", "Approve")
    assert shop.end(run_id)[0] == "success"
    assert shop.champion["version"] == release
    shop.order()


def test_an_approval_that_is_marked_as_a_success_instead_of_answered_promotes_nothing(shop: Shop) -> None:
    before = shop.champion
    run_id = waiting(shop)
    shop.airflow.set_state(DAG, run_id, "approve", "success")
    state, states, _ = shop.end(run_id)
    assert (state, states["promote"]) == ("failed", "failed")
    assert shop.commands()[-1].split(" as ")[0].endswith("--by refresh --through=airflow"), (
        "no name is invented, and no time"
    )
    assert shop.airflow.xcom(DAG, run_id, "promote", "reason").endswith("it waits for an approval.")
    assert shop.champion == before
    shop.order()


def test_a_rollback_is_a_form_and_one_run(shop: Shop) -> None:
    before = shop.champion["version"]
    run_id = shop.airflow.trigger("recsim_rollback", {"reason": "stripes look like rings"})
    assert shop.airflow.wait("recsim_rollback", run_id, timeout=180)["state"] == "success"
    assert (
        f"rollback --reason=stripes look like rings --by={shop.airflow.username} --through=airflow"
        in shop.commands()[-2]
    )
    assert shop.commands()[-1].startswith(f"verify --version {before - 1}")
    assert shop.champion["version"] == before - 1
    run_id = shop.airflow.trigger("recsim_rollback", {"action": "resume"})
    assert shop.airflow.wait("recsim_rollback", run_id, timeout=180)["state"] == "success"
    assert f"rollback --resume --by={shop.airflow.username} --through=airflow" in shop.commands()[-2]
