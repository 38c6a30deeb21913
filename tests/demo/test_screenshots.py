"""The images of the docs: they show the DAG as it is, and are small."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from PIL import Image

from recsim_demo.camera import MOST_BYTES

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
GRAPHS = {"graph-retrain": "retrain", "graph-append": "append"}
TAKEN = [
    *GRAPHS, "feed-on-hold", "approve", "verdict", "rollback", "shop", "shop-product", "shop-phone",
    "retrieval-sheet",
]  # fmt: skip


def states(graph: str) -> dict[str, str]:
    """The state of each task in the image of a run."""
    return dict(json.loads((IMAGES / f"{graph}.json").read_text()))


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_image_of_a_run_shows_every_task_of_the_dag(graph: str) -> None:
    table = yaml.safe_load((ROOT / "dags" / "recsim_refresh.yaml").read_text())
    assert set(states(graph)) == set(table), "run `make pictures`"


@pytest.mark.parametrize(("graph", "branch"), GRAPHS.items())
def test_the_image_of_a_run_shows_the_branch_that_its_name_says(graph: str, branch: str) -> None:
    found = states(graph)
    skipped = {task for task, state in found.items() if state == "skipped"}
    branches = {task for task in found if "." in task or task == "up_to_date"}
    of_branch = {task for task in branches if task.startswith(f"{branch}.")}
    assert skipped == branches - of_branch | {"approve_feed", "answer_feed"}
    assert {state for task, state in found.items() if task not in skipped} == {"success"}


@pytest.mark.parametrize("name", TAKEN)
def test_an_image_is_small_and_sharp(name: str) -> None:
    path = IMAGES / f"{name}.png"
    assert path.stat().st_size < MOST_BYTES
    with Image.open(path) as image:
        assert image.mode == "P"
        assert image.width >= 780


def test_the_command_takes_these_images() -> None:
    source = (ROOT / "src" / "recsim_demo" / "screenshots.py").read_text()
    assert set(re.findall(r'"([a-z-]+)\.png"', source)) == set(TAKEN)
