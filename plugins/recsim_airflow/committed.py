"""How far the released answer reflects the catalogue, mirrored in an asset's state store for those who watch the table.

The release's manifest owns this cursor; refreshes work from that. The mirror only spares the watchers an announcement.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, BaseOperator, Context

from recsim_airflow.commits import Cursor
from recsim_airflow.reasons import REASON_COLUMN, give_reason

COMMITTED = "committed"


def committed(context: Context, asset: Asset) -> Cursor:
    """The cursor that was noted last; empty where none was."""
    value: Any = context["asset_state_store"][asset].get(COMMITTED)
    return dict(value) if isinstance(value, dict) else {}


def note_committed(context: Context, asset: Asset) -> Cursor:
    """Note the head that this run planned for: what serves reflects the catalogue up to there. The task needs `asset` as an inlet."""
    head = {name: context["ti"].xcom_pull(task_ids="plan")["head"][name] for name in ("table_id", "version")}
    context["asset_state_store"][asset].set(COMMITTED, head)
    return head


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
        give_reason(context, f"what serves reflects the catalogue at version {head['version']}")
