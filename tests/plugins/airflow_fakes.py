"""What an operator, a sensor or a trigger sees of Airflow, in memory."""

from __future__ import annotations

import json
from typing import Any

# The XCom of a task that ran the job `plan`.
PLAN: dict[str, Any] = {
    "refresh_id": "r",
    "decision": "skip",
    "reasons": ["Nothing changed."],
    "warm_start": False,
    "cursor": None,
    "head": {"table_id": "id", "version": 3},
    "changes": {},
    "champion": None,
    "champion_unreadable": None,
    "estimate": {"images": 0, "minutes": None},
}


class FakeTaskInstance:
    """A task instance whose `xcom_pull` returns `results` by task id."""

    def __init__(self, **results: Any) -> None:
        self.results = results
        self.xcoms: dict[str, Any] = {}
        self.try_number, self.max_tries = 1, 60

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str) -> Any:
        return self.results[task_ids]


class FakeStateStore(dict[str, Any]):
    """A state store of a task or of an asset; a broken one raises when it is read."""

    broken = False

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)

    async def aget(self, key: str, default: Any = None) -> Any:
        if self.broken:
            raise ConnectionError("the API server is away")
        return self.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        self.set(key, value)


def fake_context(ti: FakeTaskInstance | None = None, **more: Any) -> Any:
    return {"ti": ti or FakeTaskInstance(), "task_state_store": FakeStateStore(), **more}
