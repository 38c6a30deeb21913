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


def task_context(**results: Any) -> Any:
    return fake_context(FakeTaskInstance(**results), asset_state_store={ASSET: FakeStateStore()})


def test_the_cursor_is_the_head_of_the_plan() -> None:
    context = task_context(decide_what=PLAN)
    assert recorded_cursor(context, ASSET) is None
    record_cursor(context, ASSET, plan_task="decide_what")
    assert recorded_cursor(context, ASSET) == Cursor(**PLAN["head"])
    assert context["asset_state_store"][ASSET]["committed"] == PLAN["head"]


def test_the_start_of_a_refresh_is_recorded_in_seconds_since_the_epoch() -> None:
    context = task_context()
    record_refresh_start(context, ASSET)
    assert context["asset_state_store"][ASSET]["refresh_started"]["at"] == pytest.approx(time.time(), abs=60)
