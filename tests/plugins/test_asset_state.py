from __future__ import annotations

import time
from typing import Any

import pytest
from airflow.sdk import Asset

from plugins.airflow_fakes import FakeStateStore, FakeTaskInstance, fake_context
from recsim_airflow.asset_state import record_cursor, record_refresh_start, recorded_cursor
from recsim_tasks.contracts import Cursor

pytestmark = pytest.mark.airflow

ASSET = Asset("watched")
HEAD: dict[str, Any] = {"table_id": "id", "version": 3}


def context(**results: Any) -> Any:
    return fake_context(FakeTaskInstance(**results), asset_state_store={ASSET: FakeStateStore()})


def test_the_cursor_is_the_head_of_the_plan() -> None:
    around = context(decide_what={"decision": "append", "head": HEAD})
    assert recorded_cursor(around, ASSET) is None
    record_cursor(around, ASSET, plan_task="decide_what")
    assert recorded_cursor(around, ASSET) == Cursor(**HEAD)
    assert around["asset_state_store"][ASSET]["committed"] == HEAD


def test_the_start_of_a_refresh_is_recorded_in_seconds_since_the_epoch() -> None:
    around = context()
    record_refresh_start(around, ASSET)
    assert around["asset_state_store"][ASSET]["refresh_started"]["at"] == pytest.approx(time.time(), abs=60)
