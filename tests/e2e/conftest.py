from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.outages import Outage, interrupt
from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import deliver
from recsim_demo.story import Story, make_story
from recsim_demo.watch import Refresh, follow
from recsim_local.stack import Stack, running

# The real jobs on a thirtieth of the real images: enough to tell a trained model from a guess.
SMALL = {
    "RECSIM_IMAGE_SIZE": "28",
    "RECSIM_IMAGE_CHANNELS": "1",
    "RECSIM_TRAIN_IMAGES": "8000",
    "RECSIM_TUNE_TRIALS": "2",
    "RECSIM_TUNE_IMAGES": "1000",
    "RECSIM_INDEX_EXACT_BELOW": "1000",
    "RECSIM_SERVING_POLL_SECONDS": "0.5",
}


# Secrets that the refreshes run with. No file that is left behind may hold one of them.
CANARIES = {
    name: f"canary-{name.lower().replace('_', '-')}"
    for name in ("RECSIM_API_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
}
MLFLOW_CANARY = "canary-of-mlflow"


@dataclass(frozen=True)
class ThreeFeeds:
    """The stack after a first feed, a day's changes, and the same changes again."""

    stack: Stack
    story: Story
    refreshes: list[Refresh]
    outage: Outage

    @property
    def settings(self) -> dict[str, str]:
        return {"RECSIM_HOME": str(self.stack.home), "MLFLOW_TRACKING_URI": self.stack.mlflow}


@pytest.fixture(scope="session")
def outages() -> Iterator[ThreadPoolExecutor]:
    """Runs an outage beside a refresh."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture(scope="session")
def three_feeds(
    fashion_mnist: FashionMnist, tmp_path_factory: pytest.TempPathFactory, outages: ThreadPoolExecutor
) -> Iterator[ThreeFeeds]:
    """During the second refresh MLflow is away for at least 20 s; every test holds nevertheless."""
    story = make_story(fashion_mnist, products=2_000, scale=0.05)
    home: Path = tmp_path_factory.mktemp("e2e")
    with running(home, SMALL | CANARIES, f"ada:{MLFLOW_CANARY}@") as stack:
        refreshes, mlflow = [], stack.servers["mlflow"]
        outage = outages.submit(interrupt, stack, 1, mlflow.stop, mlflow.start)
        for number, (rows, feed_id) in enumerate(
            [(story.first, "one"), (story.second, "two"), (story.second, "two")]
        ):
            deliver(stack.inbox, f"{number}-{feed_id}", rows, feed_id)
            refreshes.append(follow(stack.airflow, number, delivered_at=time.time()))
        yield ThreeFeeds(stack, story, refreshes, outage.result())
