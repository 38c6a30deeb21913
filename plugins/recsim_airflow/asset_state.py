"""What refreshes leave in the watched assets' state stores: when one began, and how far the released answer reflects the catalogue.

The release's manifest owns that cursor; refreshes work from it. What is noted here only spares the watchers an announcement.
"""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk import Asset, BaseOperator, Context

from recsim_airflow.status import REASON_COLUMN, give_reason
from recsim_tasks.contracts import Cursor

COMMITTED = "committed"
HEARD = "heard"


def committed(context: Context, asset: Asset) -> Cursor | None:
    """The cursor that was noted last; None where none was."""
    value: Any = context["asset_state_store"][asset].get(COMMITTED)
    return Cursor.from_json(value) if isinstance(value, dict) and value else None


def note_committed(context: Context, asset: Asset) -> Cursor:
    """Note the head that this run planned for: what serves reflects the catalogue up to there. The task needs `asset` as an inlet."""
    head = Cursor.from_json(context["ti"].xcom_pull(task_ids="plan")["head"])
    context["asset_state_store"][asset].set(COMMITTED, head.as_json())
    return head


def note_heard(context: Context, inbox: Asset) -> None:
    """Note that a refresh begins, which takes in all that was announced so far. The task needs `inbox` as an inlet."""
    context["asset_state_store"][inbox].set(HEARD, {"at": time.time()})


class UpToDateOperator(BaseOperator):
    """Note that what serves already reflects the catalogue as it was planned for.

    :param catalogue: the watched asset whose state store keeps the cursor
    """

    ui_color = "#e8f7e4"

    def __init__(self, *, catalogue: Asset, **kwargs: Any) -> None:
        super().__init__(inlets=[catalogue], map_index_template=REASON_COLUMN, **kwargs)
        self.catalogue = catalogue

    def execute(self, context: Context) -> None:
        """Note it, and say so."""
        head = note_committed(context, self.catalogue)
        give_reason(context, f"what serves reflects the catalogue at version {head.version}")
