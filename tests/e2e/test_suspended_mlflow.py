"""An MLflow that hangs: it accepts every connection and answers none."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from e2e.conftest import SMALL
from e2e.outages import interrupt
from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import FeedRow, deliver
from recsim_demo.story import make_story
from recsim_demo.watch import follow
from recsim_local.stack import running

pytestmark = [pytest.mark.drill, pytest.mark.e2e]

SMALLEST = SMALL | {"RECSIM_TRAIN_IMAGES": "2000", "RECSIM_TUNE_IMAGES": "500"}


def test_a_refresh_succeeds_although_mlflow_hangs_for_a_while(
    fashion_mnist: FashionMnist, outages: ThreadPoolExecutor, tmp_path: Path
) -> None:
    story = make_story(fashion_mnist, products=1_000, scale=0.01)
    with running(tmp_path, SMALLEST) as stack:
        guard = psutil.Process(stack.servers["mlflow"].process.pid)
        family = guard.children(recursive=True)
        assert family

        def suspend() -> None:
            for process in family:
                process.suspend()

        def resume() -> None:
            for process in family:
                process.resume()

        deliver(stack.inbox, "one", story.first, "one")
        assert follow(stack.airflow, 0, delivered_at=time.time()).decision == "retrain"
        outage = outages.submit(interrupt, stack, 1, suspend, resume)
        row: FeedRow = {**story.first[7], "price": 77.0}
        deliver(stack.inbox, "price", [row], "price")
        refresh = follow(stack.airflow, 1, delivered_at=time.time())
        assert refresh.decision == "append"
        assert outage.result().run_id == refresh.run_id
        assert "does not answer" in outage.result().reason
        assert "timed out" in outage.result().reason
