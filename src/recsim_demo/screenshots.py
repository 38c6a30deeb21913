"""`make pictures`: takes the screenshots of the docs from a run of 6,000 products through a real Airflow."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_demo.airflow_pages import take_form, take_graph, take_question
from recsim_demo.camera import chromium, compress
from recsim_demo.client_pages import DESKTOP, PHONE, take_shop, take_verdict
from recsim_demo.demo import SETTINGS
from recsim_demo.fashion_mnist import load as load_fashion_mnist
from recsim_demo.feeds import FeedRow, deliver
from recsim_demo.held_out import run_queries
from recsim_demo.sheet import draw_sheet
from recsim_demo.story import Story, make_story
from recsim_demo.watch import DAG, follow
from recsim_local.interrupt import run_command
from recsim_local.stack import ROOT, Stack, own_locations, running
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.settings import load_settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

IMAGES = ROOT / "docs" / "images"
# A tenth of the demo, with an index of the demo's kind: enough to look at.
PRODUCTS, SCALE = 6_000, 0.1
SMALLER = {
    "RECSIM_TUNE_TRIALS": "2",
    "RECSIM_TUNE_IMAGES": "2000",
    "RECSIM_TRAIN_IMAGES": "30000",
    "RECSIM_INDEX_EXACT_BELOW": "1000",
}
SHOWN_CATEGORY = "Ankle boot"
LACKING_CATEGORY = "Sandal"
QUESTION_SECONDS = 600.0


class Session:
    """One run with its screenshots, which are written into `folder`."""

    def __init__(self, stack: Stack, story: Story, browser: Browser, folder: Path) -> None:
        self.stack, self.story, self.browser, self.folder = stack, story, browser, folder
        self.runs = 0

    def run(self) -> None:
        """Deliver three feeds, ask for an approval, and take everything."""
        first = self._deliver("monday", self.story.first)
        take_graph(self.browser, self.stack.airflow, first, self.folder / "graph-retrain.png")
        second = self._deliver("tuesday", self.story.second)
        take_graph(self.browser, self.stack.airflow, second, self.folder / "graph-append.png")
        self._take_results(second)
        self._take_feed_on_hold()
        self._take_approval()
        take_form(self.browser, self.stack.airflow, "recsim_rollback", self.folder / "rollback.png")

    def _deliver(self, feed_id: str, rows: Iterable[FeedRow]) -> str:
        """Deliver a feed, wait for the end of its refresh, and return the run's id."""
        deliver(self.stack.inbox, feed_id, rows, feed_id)
        run_id = follow(self.stack.airflow, self.runs, delivered_at=time.time()).run_id
        self.runs += 1
        return run_id

    def _take_results(self, run_id: str) -> None:
        shop, mlflow = self.stack.shop, self.stack.mlflow
        take_verdict(self.browser, self.stack.airflow, mlflow, run_id, self.folder / "verdict.png")
        take_shop(self.browser, shop, self.folder / "shop.png", DESKTOP)
        take_shop(self.browser, shop, self.folder / "shop-phone.png", PHONE)
        shown = _last_of(self.story.first, SHOWN_CATEGORY)
        take_shop(self.browser, shop, self.folder / "shop-product.png", DESKTOP, shown["product_id"])
        with self.stack.client() as client:
            images, categories = self.story.held_out, self.story.held_out_categories
            results = run_queries(client, images, categories)
            path = self.folder / "retrieval-sheet.png"
            compress(draw_sheet(client, images, categories, results, path))

    def _take_feed_on_hold(self) -> None:
        """A full feed that was cut off, and lacks a category: the guards put it on hold. It is refused."""
        rows = [row for row in self.story.first[: PRODUCTS // 3] if row["category"] != LACKING_CATEGORY]
        deliver(self.stack.inbox, "wednesday", rows, "wednesday", full=True)
        run_id = self.stack.airflow.wait_for_run(DAG, after=self.runs)
        self.runs += 1
        self._take_question(run_id, "approve_feed", "feed-on-hold.png", answer="Reject")

    def _take_approval(self) -> None:
        run_id = self.stack.airflow.trigger(DAG, {"mode": "rebuild", "approval": "ask"})
        self.runs += 1
        self._take_question(run_id, "approve", "approve.png", answer="Approve")

    def _take_question(self, run_id: str, task_id: str, name: str, answer: str) -> None:
        airflow = self.stack.airflow
        _wait_for_question(self.stack, run_id, task_id)
        take_question(self.browser, self.stack, run_id, task_id, self.folder / name)
        airflow.respond(DAG, run_id, task_id, answer)
        airflow.wait(DAG, run_id)


def _wait_for_question(stack: Stack, run_id: str, task_id: str) -> None:
    deadline = time.monotonic() + QUESTION_SECONDS
    while time.monotonic() < deadline:
        states = {task["task_id"]: task["state"] for task in stack.airflow.task_instances(DAG, run_id)}
        if states.get(task_id) == "awaiting_input":
            return
        if states.get(task_id) in ("failed", "upstream_failed", "skipped", "success"):
            break
        stack.airflow.check()
        time.sleep(2)
    raise RecsimError(f"The task {task_id} of {run_id} asks nothing: its state is {states.get(task_id)}.")


def _last_of(rows: list[FeedRow], category: str) -> FeedRow:
    """A product that no later feed changes: those change the first ones."""
    return next(row for row in reversed(rows) if row["category"] == category)


def run() -> None:
    """Take all screenshots in a folder of their own, then replace those of the docs."""
    home = load_settings().home / "screenshots"
    shutil.rmtree(home, ignore_errors=True)
    for path in _take_all(home):
        shutil.copy(path, IMAGES / path.name)
        print(f"docs/images/{path.name}  {path.stat().st_size:,} bytes", flush=True)


def _take_all(home: Path) -> list[Path]:
    folder = home / "images"
    folder.mkdir(parents=True)
    story = make_story(load_fashion_mnist(), products=PRODUCTS, scale=SCALE)
    settings = SETTINGS | SMALLER | own_locations(home)
    with running(home, settings) as stack, chromium() as browser:
        Session(stack, story, browser, folder).run()
    return sorted(folder.iterdir())


if __name__ == "__main__":
    sys.exit(run_command("make pictures", run))
