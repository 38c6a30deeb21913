from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralError,
    TaskDeferred,
)

from plugins.airflow_fakes import FakeStateStore, FakeTaskInstance
from plugins.writers import commit
from recsim_airflow.commits import ChangeFeedOffError, UnreadableTableError
from recsim_airflow.sensors import DeltaChangeDataFeedSensor
from recsim_airflow.triggers import DeltaChangeDataFeedTrigger

pytestmark = pytest.mark.airflow


ASSET = Asset("watched")


def task_context(committed: Any = None) -> Any:
    return {"ti": FakeTaskInstance(), "asset_state_store": {ASSET: FakeStateStore(committed=committed)}}


def sensor(uri: str, **more: Any) -> DeltaChangeDataFeedSensor:
    return DeltaChangeDataFeedSensor(task_id="await", table_uri=uri, **more)


def result(table_id: str, start: int, end: int) -> dict[str, Any]:
    return {"table_id": table_id, "start_version": start, "end_version": end, "n_commits": end - start + 1}


def test_a_commit_that_is_already_there_needs_no_trigger(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    commit(uri)
    table_id = commit(uri)
    assert sensor(uri, min_version="1").execute(task_context()) == result(table_id, 0, 1)


def test_the_range_begins_after_the_cursor_and_is_empty_when_nothing_is_new(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    commit(uri)
    commit(uri)
    table_id = commit(uri)
    waiting = sensor(uri, min_version=2, cursor_of=ASSET)
    assert waiting.execute(task_context({"table_id": table_id, "version": 0})) == result(table_id, 1, 2)
    assert waiting.execute(task_context({"table_id": table_id, "version": 2})) == result(table_id, 3, 2)
    assert waiting.execute(task_context({"table_id": "another", "version": 2})) == result(table_id, 0, 2)


@pytest.mark.parametrize("exists", [True, False])
def test_the_sensor_waits_in_the_triggerer_for_a_commit_that_is_not_there(
    tmp_path: Path, exists: bool
) -> None:
    uri = str(tmp_path / "products")
    if exists:
        commit(uri)
    with pytest.raises(TaskDeferred) as deferred:
        sensor(uri, min_version=7, timeout=60, poke_interval=3).execute(task_context())
    assert isinstance(deferred.value.trigger, DeltaChangeDataFeedTrigger)
    kwargs = {"table_uri": uri, "min_version": 7, "after": None, "poll_interval": 3.0, "conn_id": None}
    assert deferred.value.trigger.serialize()[1] == kwargs
    assert deferred.value.timeout is not None
    assert deferred.value.timeout.total_seconds() == 60


def test_without_a_version_the_first_commit_after_the_cursor_ends_the_wait(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    cursor = {"table_id": commit(uri), "version": 0}
    waiting = sensor(uri, cursor_of=ASSET)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute(task_context(cursor))
    head = {"table_id": cursor["table_id"], "version": 4, "change_feed": True}
    kwargs = {**(deferred.value.kwargs or {}), "event": {"head": head}}
    moved = task_context({**cursor, "version": 3})  # by a refresh that ended meanwhile
    assert waiting.resume_execution("execute_complete", kwargs, moved) == result(
        str(cursor["table_id"]), 1, 4
    )


@pytest.mark.parametrize("soft_fail", [True, False])
def test_a_table_without_a_change_feed_fails_the_task(tmp_path: Path, soft_fail: bool) -> None:
    uri = str(tmp_path / "products")
    commit(uri, change_feed=False)
    waiting = sensor(uri, soft_fail=soft_fail)
    with pytest.raises(ChangeFeedOffError, match="has no change feed") as raised:
        waiting.execute(task_context())
    assert not isinstance(raised.value, AirflowException)
    with pytest.raises(ChangeFeedOffError):
        waiting.resume_execution(
            "execute_complete",
            {"event": {"head": {"table_id": "id", "version": 8, "change_feed": False}}, "after": {}},
            task_context(),
        )


def time_out(waiting: DeltaChangeDataFeedSensor) -> Any:
    return waiting.resume_execution("__fail__", {"error": "Trigger timeout"}, task_context())


def test_a_timeout_skips_and_names_the_version(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    commit(uri)
    with pytest.raises(AirflowSkipException, match=r"Waited 60 s: .*products is at version 0, not yet at 7"):
        time_out(sensor(uri, min_version=7, timeout=60))


def test_a_timeout_fails_where_a_skip_would_hide_it(tmp_path: Path) -> None:
    with pytest.raises(AirflowSensorTimeout, match="does not exist yet"):
        time_out(sensor(str(tmp_path / "nowhere"), timeout=60, soft_fail=False))


@pytest.mark.parametrize("soft_fail", [True, False])
def test_a_commit_that_no_triggerer_has_seen_is_found_when_the_wait_times_out(
    tmp_path: Path, soft_fail: bool
) -> None:
    uri = str(tmp_path / "products")
    table_id = commit(uri)
    waiting = sensor(uri, min_version=0, timeout=60, soft_fail=soft_fail)
    assert time_out(waiting) == result(table_id, 0, 0)


def test_a_table_without_a_change_feed_is_not_skipped_when_the_wait_times_out(tmp_path: Path) -> None:
    uri, context = str(tmp_path / "products"), task_context()
    commit(uri, change_feed=False)
    with pytest.raises(ChangeFeedOffError):
        sensor(uri, min_version=7).resume_execution("__fail__", {"error": "Trigger timeout"}, context)
    assert "has no change feed" in context["reason"]


def test_a_crashed_trigger_fails_the_task(tmp_path: Path) -> None:
    context = task_context()
    with pytest.raises(TaskDeferralError):
        sensor(str(tmp_path)).resume_execution("__fail__", {"error": "Trigger failure"}, context)
    assert context["reason"].startswith("The triggerer could not wait for")


def test_an_unreadable_table_fails_the_task_before_during_and_after_the_wait(tmp_path: Path) -> None:
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / f"{0:020}.json").write_text("no JSON")
    waiting, context = sensor(str(tmp_path)), task_context()
    with pytest.raises(UnreadableTableError, match="cannot be read") as raised:
        waiting.execute(context)
    assert not isinstance(raised.value, AirflowException)
    assert context["reason"] == str(raised.value)
    with pytest.raises(UnreadableTableError, match="disk is gone"):
        waiting.resume_execution(
            "execute_complete", {"event": {"error": "The disk is gone."}, "after": {}}, task_context()
        )
    with pytest.raises(UnreadableTableError, match="cannot be read"):
        time_out(waiting)
