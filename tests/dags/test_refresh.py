"""The refresh through a real scheduler, triggerer and dag-processor; a stand-in does the jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil
import pytest

from recsim_tasks.contracts import EmbedResult

if TYPE_CHECKING:
    from dags.conftest import Deployment

pytestmark = pytest.mark.airflow

DAG = "recsim_refresh"


def skipped(states: dict[str, str | None]) -> set[str]:
    return {task.split(".")[0] for task, state in states.items() if state == "skipped"}


def test_a_landed_feed_starts_a_refresh(deployment: Deployment) -> None:
    before, commands, head = deployment.runs(), len(deployment.commands()), deployment.head()
    (deployment.inbox / "still-being-written").mkdir()
    time.sleep(3)
    assert deployment.runs() == before, "a feed without its manifest is still being written"
    deployment.land("feed-1")
    state, states, run_id = deployment.next_run(before)
    assert run_id.startswith("asset_triggered__")
    assert state == "success"
    assert skipped(states) == {"approve_feed", "answer_feed", "up_to_date", "rebuild", "retrain"}
    embedded = EmbedResult(embedded=3, reused=0, of=3, unembeddable=0)
    assert deployment.airflow.xcom(DAG, run_id, "append.embed") == embedded.model_dump()
    assert deployment.airflow.xcom(DAG, run_id, "append.embed", "reason") == "embedded 3 of 3, reused 0"
    release = len(deployment.releases())
    assert [line.split(" as ")[0] for line in deployment.commands()[commands:]] == [
        "ingest",
        "plan --mode auto --pool-slots=2",
        "embed",
        "index append",
        "evaluate",
        "register",
        "gate",
        f"promote --version {release} --by refresh --through=airflow",
        f"verify --version {release}",
    ]
    reasons = {
        task["task_id"]: task["rendered_map_index"] for task in deployment.airflow.task_instances(DAG, run_id)
    }
    assert reasons["plan"] == reasons["decide"] == "append: 3 products changed. (3 images to embed)"
    now = deployment.head()["version"]
    assert now == head["version"] + 1
    assert str(reasons["await_catalogue"]).endswith(f"is at version {now}; {now} was asked for.")
    assert deployment.airflow.xcom(DAG, run_id, "await_catalogue")["end_version"] == now
    assert deployment.airflow.asset_state("recsim_catalogue_commits")["committed"] == deployment.head()
    inbox = deployment.airflow.asset_state("recsim_feed_inbox")
    assert inbox["refresh_started"]["at"] > inbox["announced"]["at"], "else the feed would be announced again"


def test_a_refresh_without_changes_succeeds_and_its_log_has_the_levels_of_the_job(
    deployment: Deployment,
) -> None:
    name = "recsim_tasks.catalogue.feeds.ingest"
    deployment.override(
        ingest={"log": [f"WARNING {name}: 3 rows are invalid", f"INFO {name}: Feed f", "no level"]}
    )
    state, states, run_id = deployment.run()
    deployment.override()
    assert state == "success"
    assert {task for task, its in states.items() if its == "success"} == {
        "ingest",
        "await_catalogue",
        "plan",
        "decide",
        "up_to_date",
    }
    assert skipped(states) == {
        "approve_feed",
        "answer_feed",
        "append",
        "rebuild",
        "retrain",
        "evaluate",
        "register",
        "gate",
        "approve",
        "promote",
        "verify",
    }
    assert deployment.airflow.xcom(DAG, run_id, "await_catalogue")["n_commits"] == 0
    assert deployment.airflow.xcom(DAG, run_id, "up_to_date", "reason").endswith(
        f"at version {deployment.head()['version']}."
    )
    log = {event["event"]: event for event in deployment.airflow.log_events(DAG, run_id, "ingest")}
    levels = {text: (event.get("level"), event.get("logger")) for text, event in log.items()}
    assert levels["3 rows are invalid"] == ("warning", name)
    assert levels["Feed f"] == ("info", name)
    assert levels["no level"] == ("info", "recsim_airflow.job_log")


def test_a_retrain_runs_in_the_gpu_pool_with_the_trials_of_the_form(deployment: Deployment) -> None:
    deployment.override(plan={"result": {"decision": "retrain", "reasons": ["Mode retrain was asked for."]}})
    state, states, run_id = deployment.run({"mode": "retrain", "trials": 9})
    assert state == "success"
    assert skipped(states) == {"approve_feed", "answer_feed", "up_to_date", "append", "rebuild"}
    commands = [line.split(" as ")[0] for line in deployment.commands()]
    assert "plan --mode retrain --pool-slots=2" in commands
    assert "tune --trials 9" in commands
    pools = {task["task_id"]: task["pool"] for task in deployment.airflow.task_instances(DAG, run_id)}
    assert pools["retrain.tune"] == pools["retrain.train"] == "gpu_pool"


def test_the_plan_knows_how_many_slots_the_pool_has_in_airflow(deployment: Deployment) -> None:
    """Airflow never starts a task that needs more slots than there are, and shows no reason in its UI."""
    pool = {"name": "gpu_pool", "slots": 1, "include_deferred": False}
    deployment.override(
        plan={
            "exit_code": 2,
            "result": {
                "error": "RECSIM_RANKS needs 2 slots of gpu_pool, which has 1.",
                "error_type": "configuration",
            },
        }
    )
    deployment.airflow._call("PATCH", "/pools/gpu_pool", pool)
    try:
        state, states, _ = deployment.run({"mode": "retrain"})
        assert (state, states["plan"]) == ("failed", "failed")
        assert "plan --mode retrain --pool-slots=1" in [
            line.split(" as ")[0] for line in deployment.commands()
        ]
    finally:
        deployment.airflow._call("PATCH", "/pools/gpu_pool", {**pool, "slots": 2})


def test_a_rejected_release_is_red_at_the_gate_and_is_not_promoted(deployment: Deployment) -> None:
    append = {"result": {"decision": "append", "reasons": ["3 products changed."]}}
    deployment.override(
        plan=append, evaluate={"result": {"verdict": "rejected", "reasons": ["Precision fell."]}}
    )
    state, states, run_id = deployment.run()
    assert state == "failed"
    assert [states[task] for task in ("evaluate", "register", "gate")] == ["success", "success", "failed"]
    assert {states[task] for task in ("approve", "promote", "verify")} == {"upstream_failed"}
    assert deployment.airflow.xcom(DAG, run_id, "gate", "reason") == "Rejected: Precision fell."
    assert deployment.airflow.xcom(DAG, run_id, "gate")["verdict"] == "rejected"
    (gate,) = (task for task in deployment.airflow.task_instances(DAG, run_id) if task["task_id"] == "gate")
    assert gate["try_number"] == 1


def test_a_misspelt_run_parameter_is_refused_before_any_job_runs(deployment: Deployment) -> None:
    before = deployment.commands()
    state, states, run_id = deployment.run({"trails": 9})
    assert (state, states["ingest"]) == ("failed", "failed")
    assert deployment.airflow.xcom(DAG, run_id, "ingest", "reason").startswith(
        "Unknown run parameter: trails."
    )
    assert deployment.commands() == before


def test_marking_a_task_as_failed_ends_its_job(deployment: Deployment) -> None:
    deployment.override(ingest={"sleep": 600})
    before = len(deployment.commands())
    run_id = deployment.airflow.trigger(DAG)
    deadline = time.monotonic() + 60
    while len(deployment.commands()) == before and time.monotonic() < deadline:
        time.sleep(0.2)
    job = psutil.Process(int(deployment.commands()[-1].split()[-1]))
    deployment.airflow.set_state(DAG, run_id, "ingest", "failed")
    job.wait(timeout=30)
    deployment.override()
    assert deployment.end(run_id)[0] == "failed"


def waiting(deployment: Deployment) -> str:
    """A refresh that waits for an approval."""
    deployment.override(plan={"result": {"decision": "append", "reasons": ["3 products changed."]}})
    run_id = deployment.airflow.trigger(DAG, {"approval": "ask"})
    deployment.wait_for_question(run_id, "approve")
    return run_id


def test_a_release_is_promoted_when_a_person_approves_it(deployment: Deployment) -> None:
    run_id = waiting(deployment)
    question = deployment.airflow.hitl_details(DAG, run_id, "approve")
    release = len(deployment.releases())
    assert question["subject"] == f"Release {release}: promote it to Production?"
    assert (
        "| Precision@1 no worse than the champion | 0.8 | 0.79 | +0.0100 (+0.0020 to +0.0180) |"
        in question["body"].replace("\\", "")
    )
    deployment.respond(run_id, "approve", "Approve")
    state, _, _ = deployment.end(run_id)
    assert state == "success"
    assert (
        f"promote --version {release} --by {deployment.airflow.username} --through=airflow --answered-at=20"
        in "\n".join(deployment.commands())
    )
    assert "register --ask" in "\n".join(deployment.commands())
    assert (
        deployment.airflow.xcom(DAG, run_id, "approve", "reason")
        == f"{deployment.airflow.username} approved release {release}."
    )


def test_a_rejected_release_is_not_promoted_until_a_person_who_is_asked_again_approves(
    deployment: Deployment,
) -> None:
    before, user = deployment.champion, deployment.airflow.username
    run_id = waiting(deployment)
    release = len(deployment.releases())
    deployment.respond(run_id, "approve", "Reject")
    state, states, _ = deployment.end(run_id)
    assert (state, states["approve"], states["promote"], states["verify"]) == (
        "failed",
        "success",
        "failed",
        "upstream_failed",
    )
    assert deployment.airflow.xcom(DAG, run_id, "approve", "reason") == f"{user} rejected release {release}."
    assert (
        deployment.airflow.xcom(DAG, run_id, "promote", "reason")
        == f"Rejected: Release {release} stays in Staging: {user} rejected it."
    )
    deployment.clear(run_id, "promote")
    assert deployment.end(run_id)[0] == "failed"
    last = deployment.commands()[-1].split(" as ")[0]
    assert last.startswith(f"promote --version {release} --by {user} --through=airflow --answered-at=20")
    assert last.endswith(" --reject")
    assert deployment.champion == before
    deployment.clear(run_id, "approve")
    deployment.wait_for_question(run_id, "approve")
    deployment.respond(run_id, "approve", "Approve")
    assert deployment.end(run_id)[0] == "success"
    assert deployment.champion["version"] == release
    deployment.override()


def test_an_approval_that_is_marked_as_success_instead_of_answered_promotes_nothing(
    deployment: Deployment,
) -> None:
    before = deployment.champion
    run_id = waiting(deployment)
    deployment.airflow.set_state(DAG, run_id, "approve", "success")
    state, states, _ = deployment.end(run_id)
    assert (state, states["promote"]) == ("failed", "failed")
    assert deployment.commands()[-1].split(" as ")[0].endswith("--by refresh --through=airflow"), (
        "neither a name nor a time is made up"
    )
    assert deployment.airflow.xcom(DAG, run_id, "promote", "reason").endswith("it needs an approval.")
    assert deployment.champion == before
    deployment.override()


def test_a_rollback_and_its_end_are_one_run_each(deployment: Deployment) -> None:
    before = deployment.champion["version"]
    run_id = deployment.airflow.trigger("recsim_rollback", {"reason": "stripes look like rings"})
    assert deployment.airflow.wait("recsim_rollback", run_id, timeout=180)["state"] == "success"
    assert (
        f"rollback --reason=stripes look like rings --by={deployment.airflow.username} --through=airflow"
        in deployment.commands()[-2]
    )
    assert deployment.commands()[-1].startswith(f"verify --version {before - 1}")
    assert deployment.champion["version"] == before - 1
    assert deployment.champion["frozen"]
    run_id = deployment.airflow.trigger("recsim_rollback", {"action": "resume", "reason": "fixed"})
    assert deployment.airflow.wait("recsim_rollback", run_id, timeout=180)["state"] == "success"
    assert f"resume --by={deployment.airflow.username} --through=airflow" in deployment.commands()[-2]
    assert not deployment.champion["frozen"]
