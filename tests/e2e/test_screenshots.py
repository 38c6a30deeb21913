"""The screenshots of the docs can be taken from a run: those of pages that wait for no person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml  # type: ignore[import-untyped]
from PIL import Image

from recsim_demo.airflow_pages import take_form, take_graph
from recsim_demo.client_pages import DESKTOP, take_shop, take_verdict

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from e2e.conftest import ThreeFeeds

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]


def test_the_graph_has_every_task_of_the_dag(
    three_feeds: ThreeFeeds, browser: Browser, tmp_path: Path
) -> None:
    run_id = three_feeds.refreshes[0].run_id
    path = take_graph(browser, three_feeds.stack.airflow, run_id, tmp_path / "graph.png")
    table = yaml.safe_load((ROOT / "dags" / "recsim_refresh.yaml").read_text())
    assert set(json.loads(path.with_suffix(".json").read_text())) == set(table)
    with Image.open(path) as image:
        assert image.height > image.width > 1_000


def test_the_pages_of_the_shop_of_mlflow_and_of_a_form_can_be_taken(
    three_feeds: ThreeFeeds, browser: Browser, tmp_path: Path
) -> None:
    stack, run_id = three_feeds.stack, three_feeds.refreshes[1].run_id
    taken = [
        take_verdict(browser, stack.airflow, stack.mlflow, run_id, tmp_path / "verdict.png"),
        take_shop(browser, stack.shop, tmp_path / "shop.png", DESKTOP),
        take_form(browser, stack.airflow, "recsim_rollback", tmp_path / "rollback.png"),
    ]
    for path in taken:
        with Image.open(path) as image:
            assert image.height > 900, path.name
