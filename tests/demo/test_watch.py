from __future__ import annotations

import time
from typing import Any

import pytest

from recsim_demo import watch
from recsim_demo.watch import follow
from recsim_tasks.foundation.errors import RecsimError


class FakeAirflow:
    """An Airflow with one run of two tasks, which ends in `state`."""

    url = "http://airflow"

    def __init__(self, state: str) -> None:
        self.state = state

    def wait_for_run(self, dag_id: str, after: int) -> str:
        return f"run-{after}"

    def wait(self, dag_id: str, run_id: str, on_change: Any, on_poll: Any) -> dict[str, Any]:
        on_change("plan", "running")
        on_poll()
        on_change("plan", "success")
        on_change("append.embed", "running")
        on_poll()
        on_change("append.embed", self.state)
        return {"state": self.state}

    def logs(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> str:
        return f"Try {try_number} of {task_id}: 10 of 60 images"

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        return {"decision": "append"} if key == "return_value" else f"the reason of {task_id}"

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        def instance(task_id: str, state: str, start: str | None, end: str | None) -> dict[str, Any]:
            dates = {"start_date": start, "end_date": end}
            return {"task_id": task_id, "state": state, "try_number": 2, **dates}

        minute = "2026-01-01T00:00:{:02}+00:00".format
        return [
            instance("append.embed", "success", minute(5), minute(9)),
            instance("plan", "success", minute(0), minute(2)),
            instance("retrain.tune", "skipped", None, None),
        ]


def test_a_refresh_is_followed_to_its_end(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOG_LINE_EVERY_SECONDS", 0)
    refresh = follow(FakeAirflow("success"), 3, delivered_at=time.time() - 10)  # type: ignore[arg-type]
    assert (refresh.run_id, refresh.decision) == ("run-3", "append")
    assert refresh.seconds == pytest.approx(10, abs=5)
    assert list(refresh.phases.items()) == [("plan", 2.0), ("append.embed", 4.0)]
    printed = capfd.readouterr().err
    assert "plan               success: the reason of plan" in printed
    assert "Try 2 of append.embed: 10 of 60 images" in printed, "the progress is that of the running try"


def test_a_failed_refresh_names_the_task_and_the_reason() -> None:
    with pytest.raises(RecsimError, match=r"^Refresh run-3 failed: append.embed: the reason of append.embed"):
        follow(FakeAirflow("failed"), 3, delivered_at=time.time())  # type: ignore[arg-type]
