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
    from conftest import Shop

pytestmark = [pytest.mark.drill, pytest.mark.airflow]

DAG, COMMITS = "recsim_refresh", "recsim_catalogue_commits"


@pytest.fixture(autouse=True)
def _quiet(shop: Shop) -> Iterator[None]:
    """Each test starts and ends with no run in progress."""
    yield
    shop.order()
    shop.idle()


def commit(shop: Shop, row: str) -> dict[str, Any]:
    """Change the catalogue as another writer does; returns the head."""
    import pyarrow as pa
    from deltalake import write_deltalake

    write_deltalake(str(shop.home / "tables" / "products"), pa.table({"id": [row]}), mode="append")
    return shop.head()


def applied(shop: Shop, run_id: str, task_id: str = "ingest") -> Any:
    """The ids of the feeds that a refresh applied."""
    return shop.airflow.xcom(DAG, run_id, task_id)["feed_id"]


def test_a_triggerer_that_is_killed_after_a_commit_loses_no_change_and_no_release_is_doubled(
    shop: Shop,
) -> None:
    runs, releases = shop.runs(), shop.releases()
    head = commit(shop, "by-another")
    shop.airflow.kill("triggerer")  # before it has seen the commit
    shop.airflow.restart("triggerer")
    shop.until(lambda: shop.runs() > runs)
    shop.airflow.kill("triggerer")  # between the event and the record that it was announced
    shop.airflow.restart("triggerer")
    shop.next_run(runs)
    shop.until(
        lambda: shop.airflow.asset_state(COMMITS).get("announced", {}).get("version") == head["version"]
    )
    shop.idle()  # a second announcement starts a second run, which has nothing to do
    assert shop.champion["cursor"] == head
    assert len(shop.releases()) == len(releases) + 1
    assert shop.airflow.asset_state(COMMITS)["committed"] == head


@dataclass(frozen=True)
class Night:
    """Two refreshes: of feeds that landed while the DAG was paused, and while the first one ran."""

    while_paused: int
    first: str
    second: str


@pytest.fixture(scope="module")
def night(shop: Shop) -> Night:
    shop.idle()
    shop.airflow.pause(DAG, True)
    runs = shop.runs()
    for name in ("same-second-b", "same-second-a"):
        os.utime(shop.land(name) / "manifest.json", (1_700_000_000, 1_700_000_000))
    half = shop.inbox / "half-written" / "manifest.json"
    half.parent.mkdir()
    half.write_text('{"feed_id": "half-w')
    time.sleep(5)
    while_paused = shop.runs() - runs
    shop.airflow.pause(DAG, False)
    # The writer is still busy: a broken manifest that stays unchanged for a minute would be announced, to be
    # refused.
    shop.until(lambda: half.touch() or shop.runs() > runs)
    first = shop.airflow.wait_for_run(DAG, runs)
    shop.until(lambda: half.touch() or shop.states(first)["ingest"] == "success")
    shop.land("during-1")
    half.write_text(json.dumps({"feed_id": "half-written", "rows": 1}))
    shop.land("during-2")
    shop.land("during-3")
    shop.end(first)
    second = shop.next_run(runs + 1)[2]
    shop.idle()
    return Night(while_paused, first, second)


def test_feeds_that_land_while_the_dag_is_paused_are_applied_afterwards(shop: Shop, night: Night) -> None:
    assert night.while_paused == 0
    assert {"same-second-a", "same-second-b"} <= set(shop.table())


def test_two_feeds_of_the_same_second_are_both_applied_and_a_half_written_one_is_not(
    shop: Shop, night: Night
) -> None:
    assert applied(shop, night.first) == "same-second-a, same-second-b"


def test_feeds_that_land_during_a_refresh_are_in_the_next_one_in_order_of_arrival(
    shop: Shop, night: Night
) -> None:
    assert applied(shop, night.second) == "during-1, half-written, during-2, during-3"
    assert shop.champion["cursor"] == shop.head()
    assert not list(shop.inbox.glob("[!.]*/manifest.json"))


def test_no_feed_of_that_night_is_applied_twice(shop: Shop, night: Night) -> None:
    assert len(shop.table()) == len(set(shop.table()))


def test_an_unreadable_inbox_is_announced_later_and_a_withdrawn_feed_is_no_failure(
    shop: Shop,
) -> None:
    runs, head = shop.runs(), shop.head()
    shop.order(ingest={"sleep": 4})
    moved = shop.inbox.rename(shop.home / "moved")
    shop.inbox.write_text("a file where the inbox should be")
    (moved / "taken-back").mkdir()
    (moved / "taken-back" / "manifest.json").write_text(json.dumps({"feed_id": "taken-back", "rows": 1}))
    time.sleep(5)
    assert shop.runs() == runs
    shop.inbox.unlink()
    moved.rename(shop.inbox)
    run_id = shop.airflow.wait_for_run(DAG, runs)
    shutil.rmtree(shop.inbox / "taken-back")
    state, states, _ = shop.end(run_id)
    assert (state, states["up_to_date"]) == ("success", "success")
    assert applied(shop, run_id) is None
    assert shop.head() == head


def test_an_approved_feed_is_applied_and_so_are_the_feeds_behind_it(shop: Shop) -> None:
    runs, head = shop.runs(), shop.head()
    shop.land("held-1", hold=True)
    shop.land("behind-it")
    run_id = shop.airflow.wait_for_run(DAG, runs)
    shop.wait_for_question(run_id, "approve_feed")
    assert shop.head() == head, "nothing is written before there is an answer"
    assert shop.airflow.xcom(DAG, run_id, "ingest", "reason").startswith(
        "On hold: Feed held-1 needs a review."
    )
    shop.respond(run_id, "approve_feed", "Approve")
    assert shop.end(run_id)[0] == "success"
    assert applied(shop, run_id, "answer_feed") == "held-1, behind-it"
    assert shop.champion["cursor"] == shop.head()
    decision = shop.airflow.xcom(DAG, run_id, "approve_feed")
    assert (decision["answer"], decision["feed_id"], decision["by"]) == ("accept", "held-1", "admin")
    assert f"ingest --accept {decision['digest']} --by admin" in [
        line.split(" as ")[0] for line in shop.commands()
    ]


def test_an_unanswered_question_about_a_feed_is_red_and_asked_again_and_a_refused_feed_is_moved(
    shop: Shop,
) -> None:
    runs, head = shop.runs(), shop.head()
    feed = shop.land("held-2", hold=True)
    run_id = shop.airflow.wait_for_run(DAG, runs)
    shop.wait_for_question(run_id, "approve_feed")
    let_time_pass(shop, run_id)
    state, states, _ = shop.end(run_id)
    assert (state, states["approve_feed"]) == ("failed", "failed")
    assert {states[task] for task in ("answer_feed", "await_catalogue", "plan")} == {"upstream_failed"}
    assert shop.airflow.xcom(DAG, run_id, "approve_feed", "reason").startswith(
        "On hold: the question about feed held-2 was not answered"
    )
    assert feed.exists()
    again = shop.airflow.trigger(DAG)
    shop.wait_for_question(again, "approve_feed")
    shop.respond(again, "approve_feed", "Reject")
    state, states, _ = shop.end(again)
    assert (state, states["answer_feed"], states["up_to_date"]) == ("success", "success", "success")
    assert shop.head() == head
    assert not feed.exists()
    (note,) = (shop.inbox / ".refused").glob("*-held-2/note.json")
    assert json.loads(note.read_text())["by"] == "admin"


def let_time_pass(shop: Shop, run_id: str) -> None:
    """End the time for an answer, and again when it is asked again: see `Shop.respond`."""

    def over() -> bool:
        with sqlite3.connect(shop.airflow.home / "airflow.db", timeout=30) as database:
            sql = (
                "UPDATE task_instance SET trigger_timeout = '2026-01-01 00:00:00.000000' "
                "WHERE run_id = ? AND task_id = 'approve_feed'"
            )
            assert database.execute(sql, (run_id,)).rowcount == 1
        return shop.states(run_id)["approve_feed"] == "failed"

    shop.until(over)


def test_a_job_that_fails_without_an_outage_is_tried_three_times(shop: Shop) -> None:
    shop.order(plan={"exit_code": 1, "result": {"error": "A bug.", "error_type": "failed"}})
    run_id = shop.airflow.trigger(DAG)
    assert shop.airflow.wait(DAG, run_id, timeout=420)["state"] == "failed"
    (plan,) = (task for task in shop.airflow.task_instances(DAG, run_id) if task["task_id"] == "plan")
    assert (plan["state"], plan["try_number"]) == ("failed", 3)
    assert shop.airflow.xcom(DAG, run_id, "plan", "reason") == "A bug."
    assert "Gave up after 3 failed tries." in shop.airflow.logs(DAG, run_id, "plan", try_number=3)
