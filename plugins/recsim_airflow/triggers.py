"""What waits in the triggerer for one task: `DeltaChangeDataFeedTrigger`. What watches assets is in `watchers`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from recsim_airflow.commits import VersionCondition, decide, table_head
from recsim_airflow.storage import acredentials, delta_options
from recsim_tasks.contracts import Cursor


class DeltaChangeDataFeedTrigger(BaseTrigger):
    """Fires once, when the wait for a commit is over, for good or ill: the event has the table's `head`, or the `error`.

    :param table_uri: the table's location
    :param min_version: the version to wait for; None waits for one after the cursor
    :param after: the cursor up to which everything is known, in its JSON form
    :param poll_interval: seconds between two looks
    :param conn_id: Airflow connection with the credentials of the table's object store
    """

    def __init__(
        self,
        *,
        table_uri: str,
        min_version: int | None,
        after: dict[str, Any] | None,
        poll_interval: float,
        conn_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.table_uri = table_uri
        self.min_version = min_version
        self.after = after
        self.poll_interval = poll_interval
        self.conn_id = conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Tell the triggerer how to build this trigger."""
        names = ("table_uri", "min_version", "after", "poll_interval", "conn_id")
        return f"{__name__}.DeltaChangeDataFeedTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something to say. What cannot be read is said as well: the sensor fails, and its retry looks again."""
        condition = VersionCondition(self.min_version, Cursor.from_json(self.after) if self.after else None)
        try:
            options = delta_options(await acredentials(self.conn_id))
            while True:
                head = await asyncio.to_thread(table_head, self.table_uri, options)
                if head and decide(self.table_uri, head, condition).kind != "wait":
                    yield TriggerEvent({"head": asdict(head)})
                    return
                await asyncio.sleep(self.poll_interval)
        except Exception as error:
            yield TriggerEvent({"error": str(error) or type(error).__name__})
