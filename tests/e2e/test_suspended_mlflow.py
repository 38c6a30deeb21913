"""An MLflow that hangs: it accepts every connection and answers none."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

from e2e.outages import DAG, interrupt
from recsim_demo.feeds import FeedRow, deliver
from recsim_demo.watch import follow

if TYPE_CHECKING:
    from e2e.conftest import ThreeFeeds

pytestmark = [pytest.mark.drill, pytest.mark.e2e]


def test_a_refresh_succeeds_although_mlflow_hangs_for_a_while(
    three_feeds: ThreeFeeds, outages: ThreadPoolExecutor
) -> None:
    stack = three_feeds.stack
    runs = len(stack.airflow.runs(DAG))
    guard = psutil.Process(stack.servers["mlflow"].process.pid)
    family = guard.children(recursive=True)
    assert family

    def suspend() -> None:
        for process in family:
            process.suspend()

    def resume() -> None:
        for process in family:
            process.resume()

    outage = outages.submit(interrupt, stack, runs, suspend, resume)
    row: FeedRow = {**three_feeds.story.first[7], "price": 77.0}
    deliver(stack.inbox, "9-price", [row], "price")
    refresh = follow(stack.airflow, runs, delivered_at=time.time())
    assert refresh.decision == "append"
    assert outage.result().run_id == refresh.run_id
    assert "does not answer" in outage.result().reason
    assert "timed out" in outage.result().reason
