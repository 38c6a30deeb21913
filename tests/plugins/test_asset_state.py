from __future__ import annotations

import time
from typing import Any

import pytest
from airflow.sdk import Asset

from plugins.airflow_fakes import PLAN, FakeStateStore, FakeTaskInstance, fake_context
from recsim_airflow.asset_state import record_cursor, record_refresh_start, recorded_cursor
from recsim_tasks.contracts import Cursor

pytestmark = pytest.mark.airflow

ASSET = Asset("watched")


def context(**results: Any) -> Any:
    return fake_context(FakeTaskInstance(**results), asset_state_store={ASSET: FakeStateStore()})


def test_the_cursor_is_the_head_of_the_plan() -> None:
    around = context(decide_what=PLAN)
    assert recorded_cursor(around, ASSET) is None
    record_cursor(around, ASSET, plan_task="decide_what")
    assert recorded_cursor(around, ASSET) == Cursor(**PLAN["head"])
    assert around["asset_state_store"][ASSET]["committed"] == PLAN["head"]


def test_the_start_of_a_refresh_is_recorded_in_seconds_since_the_epoch() -> None:
    around = context()
    record_refresh_start(around, ASSET)
    assert around["asset_state_store"][ASSET]["refresh_started"]["at"] == pytest.approx(time.time(), abs=60)
