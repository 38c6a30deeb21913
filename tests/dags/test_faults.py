"""What a refresh survives: faults of a real scheduler, triggerer and database; a stand-in does the jobs."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dags.conftest import Deployment

pytestmark = [pytest.mark.drill, pytest.mark.airflow]

DAG, COMMITS = "recsim_refresh", "recsim_catalogue_commits"


@pytest.fixture(autouse=True)
def _idle(deployment: Deployment) -> Iterator[None]:
    """Each test starts and ends with no run in progress."""
    yield
    deployment.override()
    deployment.idle()


def commit(deployment: Deployment, row: str) -> dict[str, Any]:
    """Change the catalogue as another writer does; returns the head."""
    import pyarrow as pa
    from deltalake import write_deltalake

    write_deltalake(str(deployment.home / "tables" / "products"), pa.table({"id": [row]}), mode="append")
    return deployment.head()


def applied(deployment: Deployment, run_id: str, task_id: str = "ingest") -> Any:
    """The ids of the feeds that a refresh applied."""
    return deployment.airflow.xcom(DAG, run_id, task_id)["feed_id"]


def test_a_triggerer_that_is_killed_after_a_commit_loses_no_change_and_no_release_is_doubled(
    deployment: Deployment,
) -> None:
    runs, releases = deployment.runs(), deployment.releases()
    head = commit(deployment, "by-another")
    deployment.airflow.kill("triggerer")  # before it has seen the commit
    deployment.airflow.restart("triggerer")
    deployment.until(lambda: deployment.runs() > runs)
    deployment.airflow.kill("triggerer")  # between the event and the record that it was announced
    deployment.airflow.restart("triggerer")
    deployment.next_run(runs)
    deployment.until(
        lambda: deployment.airflow.asset_state(COMMITS).get("announced", {}).get("version") == head["version"]
    )
    deployment.idle()  # a second announcement starts a second run, which has nothing to do
    assert deployment.champion["cursor"] == head
    assert len(deployment.releases()) == len(releases) + 1
    assert deployment.airflow.asset_state(COMMITS)["committed"] == head


@dataclass(frozen=True)
class Night:
    """Two refreshes: of feeds that landed while the DAG was paused, and while the first one ran."""

    while_paused: int
    first: str
    second: str


@pytest.fixture(scope="module")
def night(deployment: Deployment) -> Night:
    deployment.idle()
    deployment.airflow.pause(DAG, True)
    runs = deployment.runs()
    for name in ("same-second-b", "same-second-a"):
        os.utime(deployment.land(name) / "manifest.json", (1_700_000_000, 1_700_000_000))
    half = deployment.inbox / "half-written" / "manifest.json"
    half.parent.mkdir()
    half.write_text('{"feed_id": "half-w')
    time.sleep(5)
    while_paused = deployment.runs() - runs
    deployment.airflow.pause(DAG, False)

    # The writer is still busy: a manifest that stays broken for a minute would be announced, to be refused.
    def run_has_begun() -> bool:
        half.touch()
        return deployment.runs() > runs

    deployment.until(run_has_begun)
    first = deployment.airflow.wait_for_run(DAG, runs)

    def feeds_are_applied() -> bool:
        half.touch()
        return deployment.states(first)["ingest"] == "success"

    deployment.until(feeds_are_applied)
    deployment.land("during-1")
    half.write_text(json.dumps({"feed_id": "half-written", "rows": 1}))
    deployment.land("during-2")
    deployment.land("during-3")
    deployment.end(first)
    second = deployment.next_run(runs + 1)[2]
    deployment.idle()
    return Night(while_paused, first, second)


def test_feeds_that_land_while_the_dag_is_paused_are_applied_afterwards(
    deployment: Deployment, night: Night
) -> None:
    assert night.while_paused == 0
    assert {"same-second-a", "same-second-b"} <= set(deployment.table())


def test_two_feeds_of_the_same_second_are_both_applied_and_a_half_written_one_is_not(
    deployment: Deployment, night: Night
) -> None:
    assert applied(deployment, night.first) == "same-second-a, same-second-b"


def test_feeds_that_land_during_a_refresh_are_in_the_next_one_in_order_of_arrival(
    deployment: Deployment, night: Night
) -> None:
    assert applied(deployment, night.second) == "during-1, half-written, during-2, during-3"
    assert deployment.champion["cursor"] == deployment.head()
    assert not list(deployment.inbox.glob("[!.]*/manifest.json"))


def test_no_feed_of_that_night_is_applied_twice(deployment: Deployment, night: Night) -> None:
    assert len(deployment.table()) == len(set(deployment.table()))


def test_an_unreadable_inbox_is_announced_later_and_a_withdrawn_feed_is_no_failure(
    deployment: Deployment,
) -> None:
    runs, head = deployment.runs(), deployment.head()
    deployment.override(ingest={"sleep": 4})
    moved = deployment.inbox.rename(deployment.home / "moved")
    deployment.inbox.write_text("a file where the inbox should be")
    (moved / "taken-back").mkdir()
    (moved / "taken-back" / "manifest.json").write_text(json.dumps({"feed_id": "taken-back", "rows": 1}))
    time.sleep(5)
    assert deployment.runs() == runs
    deployment.inbox.unlink()
    moved.rename(deployment.inbox)
    run_id = deployment.airflow.wait_for_run(DAG, runs)
    shutil.rmtree(deployment.inbox / "taken-back")
    state, states, _ = deployment.end(run_id)
    assert (state, states["up_to_date"]) == ("success", "success")
    assert applied(deployment, run_id) is None
    assert deployment.head() == head


def test_an_approved_feed_is_applied_and_so_are_the_feeds_behind_it(deployment: Deployment) -> None:
    runs, head = deployment.runs(), deployment.head()
    deployment.land("held-1", hold=True)
    deployment.land("behind-it")
    run_id = deployment.airflow.wait_for_run(DAG, runs)
    deployment.wait_for_question(run_id, "approve_feed")
    assert deployment.head() == head, "nothing is written before there is an answer"
    assert deployment.airflow.xcom(DAG, run_id, "ingest", "reason").startswith(
        "On hold: Feed held-1 needs a review."
    )
    deployment.respond(run_id, "approve_feed", "Approve")
    assert deployment.end(run_id)[0] == "success"
    assert applied(deployment, run_id, "answer_feed") == "held-1, behind-it"
    assert deployment.champion["cursor"] == deployment.head()
    decision = deployment.airflow.xcom(DAG, run_id, "approve_feed")
    assert (decision["answer"], decision["feed_id"], decision["by"]) == ("accept", "held-1", "admin")
    assert f"ingest --accept {decision['digest']} --by admin" in [
        line.split(" as ")[0] for line in deployment.commands()
    ]


def test_an_unanswered_question_about_a_feed_is_red_and_asked_again_and_a_refused_feed_is_moved(
    deployment: Deployment,
) -> None:
    runs, head = deployment.runs(), deployment.head()
    feed = deployment.land("held-2", hold=True)
    run_id = deployment.airflow.wait_for_run(DAG, runs)
    deployment.wait_for_question(run_id, "approve_feed")
    let_time_pass(deployment, run_id)
    state, states, _ = deployment.end(run_id)
    assert (state, states["approve_feed"]) == ("failed", "failed")
    assert {states[task] for task in ("answer_feed", "await_catalogue", "plan")} == {"upstream_failed"}
    assert deployment.airflow.xcom(DAG, run_id, "approve_feed", "reason").startswith(
        "On hold: the question about feed held-2 was not answered"
    )
    assert feed.exists()
    open_questions = deployment.airflow._call("GET", "/dags/~/dagRuns/~/hitlDetails?state=awaiting_input")
    assert open_questions["hitl_details"] == [], "a question whose time is over is not open"
    again = deployment.airflow.trigger(DAG)
    deployment.wait_for_question(again, "approve_feed")
    deployment.respond(again, "approve_feed", "Reject")
    state, states, _ = deployment.end(again)
    assert (state, states["answer_feed"], states["up_to_date"]) == ("success", "success", "success")
    assert deployment.head() == head
    assert not feed.exists()
    (note,) = (deployment.inbox / ".refused").glob("*-held-2/note.json")
    assert json.loads(note.read_text())["by"] == "admin"


def let_time_pass(deployment: Deployment, run_id: str) -> None:
    """End the time for an answer."""
    with sqlite3.connect(deployment.airflow.home / "airflow.db", timeout=30) as database:
        sql = (
            "UPDATE task_instance SET trigger_timeout = '2026-01-01 00:00:00.000000' "
            "WHERE run_id = ? AND task_id = 'approve_feed'"
        )
        assert database.execute(sql, (run_id,)).rowcount == 1
    deployment.until(lambda: deployment.states(run_id)["approve_feed"] == "failed")


def test_a_job_that_fails_without_an_outage_is_tried_three_times(deployment: Deployment) -> None:
    deployment.override(plan={"exit_code": 1, "result": {"error": "A bug.", "error_type": "failed"}})
    run_id = deployment.airflow.trigger(DAG)
    assert deployment.airflow.wait(DAG, run_id, timeout=420)["state"] == "failed"
    (plan,) = (task for task in deployment.airflow.task_instances(DAG, run_id) if task["task_id"] == "plan")
    assert (plan["state"], plan["try_number"]) == ("failed", 3)
    assert deployment.airflow.xcom(DAG, run_id, "plan", "reason") == "A bug."
    assert "Gave up after 3 failed tries." in deployment.airflow.logs(DAG, run_id, "plan", try_number=3)
