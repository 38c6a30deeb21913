from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralError,
    TaskDeferred,
)

from recsim_airflow.commits import ChangeFeedOffError
from recsim_airflow.sensors import DeltaChangeDataFeedSensor
from recsim_airflow.triggers import DeltaCommitTrigger

pytestmark = pytest.mark.airflow


class FakeTaskInstance:
    def xcom_push(self, key: str, value: Any) -> None: ...


def context() -> Any:
    return {"ti": FakeTaskInstance()}


def sensor(uri: str, **more: Any) -> DeltaChangeDataFeedSensor:
    return DeltaChangeDataFeedSensor(task_id="await", table_uri=uri, **more)


def commit(uri: str, change_feed: bool = True) -> str:
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    properties = {"delta.enableChangeDataFeed": "true"} if change_feed else None
    write_deltalake(uri, pa.table({"product_id": ["a"]}), mode="append", configuration=properties)
    return str(DeltaTable(uri).metadata().id)


def test_a_commit_that_is_there_costs_no_trigger(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    commit(uri)
    table_id = commit(uri)
    assert sensor(uri, min_version="1").execute(context()) == {"table_id": table_id, "version": 1}


@pytest.mark.parametrize("exists", [True, False])
def test_a_commit_that_is_not_there_is_waited_for_in_the_triggerer(tmp_path: Path, exists: bool) -> None:
    uri = str(tmp_path / "products")
    if exists:
        commit(uri)
    with pytest.raises(TaskDeferred) as deferred:
        sensor(uri, min_version=7, timeout=60, poke_interval=3).execute(context())
    assert isinstance(deferred.value.trigger, DeltaCommitTrigger)
    assert deferred.value.trigger.serialize()[1] == {"table_uri": uri, "min_version": 7, "poll_interval": 3.0}
    assert deferred.value.timeout is not None
    assert deferred.value.timeout.total_seconds() == 60


def test_what_the_trigger_saw_is_the_result(tmp_path: Path) -> None:
    event = {"table_id": "id", "version": 8, "change_feed": True}
    waited = sensor(str(tmp_path), min_version=7)
    assert waited.resume_execution("execute_complete", {"event": event}, context()) == {"table_id": "id", "version": 8}


@pytest.mark.parametrize("soft_fail", [True, False])
def test_a_table_without_a_change_feed_fails_and_is_never_a_skip(tmp_path: Path, soft_fail: bool) -> None:
    uri = str(tmp_path / "products")
    commit(uri, change_feed=False)
    waiting = sensor(uri, soft_fail=soft_fail)
    with pytest.raises(ChangeFeedOffError, match="has no change feed") as raised:
        waiting.execute(context())
    assert not isinstance(raised.value, AirflowException)
    with pytest.raises(ChangeFeedOffError):
        waiting.resume_execution("execute_complete", {"event": {"table_id": "id", "version": 8, "change_feed": False}}, context())


def time_out(waiting: DeltaChangeDataFeedSensor) -> None:
    waiting.resume_execution("__fail__", {"error": "Trigger timeout"}, context())


def test_a_timeout_says_what_was_waited_for(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    commit(uri)
    with pytest.raises(AirflowSensorTimeout, match=r"Waited 60 s: .*products is at version 0, not yet at 7"):
        time_out(sensor(uri, min_version=7, timeout=60))


def test_a_soft_timeout_skips(tmp_path: Path) -> None:
    with pytest.raises(AirflowSkipException, match="does not exist yet"):
        time_out(sensor(str(tmp_path / "nowhere"), timeout=60, soft_fail=True))


def test_a_crashed_trigger_is_no_skip(tmp_path: Path) -> None:
    with pytest.raises(TaskDeferralError):
        sensor(str(tmp_path), soft_fail=True).resume_execution("__fail__", {"error": "Trigger failure"}, context())
