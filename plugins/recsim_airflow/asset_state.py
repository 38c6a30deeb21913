"""What refreshes record in the state stores of the watched assets.

The release's manifest owns the cursor, and refreshes work from it. This record only saves the asset triggers
an announcement.
"""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk import Asset, Context

from recsim_tasks.contracts import Cursor, PlanResult

# Keys of the state stores. ANNOUNCED belongs to the asset triggers, the others to the refresh.
ANNOUNCED = "announced"
COMMITTED = "committed"
REFRESH_STARTED = "refresh_started"


def recorded_cursor(context: Context, catalogue: Asset) -> Cursor | None:
    """The cursor that was recorded last; None if there is none."""
    value: Any = context["asset_state_store"][catalogue].get(COMMITTED)
    return Cursor.from_json(value) if isinstance(value, dict) and value else None


def record_cursor(context: Context, catalogue: Asset, *, plan_task: str) -> Cursor:
    """Record that the champion reflects the catalogue up to the head of this run's plan.

    The task needs `catalogue` as an inlet.
    """
    cursor = PlanResult.model_validate(context["ti"].xcom_pull(task_ids=plan_task)).head
    context["asset_state_store"][catalogue].set(COMMITTED, {**cursor.as_json()})
    return cursor


def record_refresh_start(context: Context, inbox: Asset) -> None:
    """Record that a refresh starts, which takes in everything announced so far.

    The task needs `inbox` as an inlet.
    """
    context["asset_state_store"][inbox].set(REFRESH_STARTED, {"at": time.time()})
