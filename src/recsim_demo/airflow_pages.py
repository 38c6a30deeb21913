"""Screenshots of Airflow: the graph of a run, a question to a person, the form of a DAG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_demo.camera import around, new_page, take
from recsim_demo.watch import DAG
from recsim_local.airflow_api import AirflowApi
from recsim_local.stack import Stack

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

GROUPS = ["append", "rebuild", "retrain"]
# Airflow's UI keeps how a person looks at a DAG in the browser.
GRAPH_VIEW = {
    "default_dag_view": json.dumps("graph"),
    f"direction-{DAG}": json.dumps("DOWN"),
    f"{DAG}/open-groups": json.dumps(GROUPS),
}
DETAILS, HANDLE = '[data-panel-id="details-panel"]', 16  # pixels that the handle beside the panel covers
NODE = ".react-flow__node"
NO_CONTROLS = ".react-flow__panel, .react-flow__background { display: none !important }"
# Stands for the folder of the machine on which the screenshots are taken.
SHOWN_HOME = "/srv/recsim"
REPLACE_TEXT = """([old, shown]) => {
    const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (nodes.nextNode()) nodes.currentNode.data = nodes.currentNode.data.replaceAll(old, shown)
}"""


def take_graph(browser: Browser, airflow: AirflowApi, run_id: str, path: Path) -> Path:
    """The graph of a refresh with the state of each task, and beside it the states as JSON."""
    states = {task["task_id"]: task["state"] for task in airflow.task_instances(DAG, run_id)}
    page = _open(browser, airflow, f"/dags/{DAG}/runs/{run_id}", (1600, 1500), GRAPH_VIEW)
    page.add_style_tag(content=NO_CONTROLS)
    for name in {task_id.rpartition(".")[2] for task_id in states} | set(GROUPS):
        page.locator(NODE).get_by_text(name, exact=True).first.wait_for()
    page.wait_for_timeout(2_000)  # the graph glides to the place where all of it is visible
    take(page, path, around(page.locator(NODE), margin=12))
    path.with_suffix(".json").write_text(json.dumps(dict(sorted(states.items())), indent=2) + "\n")
    page.context.close()
    return path


def take_question(browser: Browser, stack: Stack, run_id: str, task_id: str, path: Path) -> Path:
    """What a task asks a person under *Required Actions*."""
    address = f"/dags/{DAG}/runs/{run_id}/tasks/{task_id}/required_actions"
    page = _open(browser, stack.airflow, address, (1440, 1200))
    last = page.get_by_role("button", name="Reject")
    last.wait_for()
    page.evaluate(REPLACE_TEXT, [str(stack.home), SHOWN_HOME])
    panel, end = around(page.locator(DETAILS)), around(last, margin=24)
    left, width = panel["x"] + HANDLE, panel["width"] - HANDLE
    height = end["y"] + end["height"] - panel["y"]
    take(page, path, {"x": left, "y": panel["y"], "width": width, "height": height})
    page.context.close()
    return path


def take_form(browser: Browser, airflow: AirflowApi, dag_id: str, path: Path) -> Path:
    """The form that triggers a DAG."""
    page = _open(browser, airflow, f"/dags/{dag_id}", (1440, 1100))
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Run Parameters").wait_for()
    take(page, path, around(dialog, margin=-8))
    page.context.close()
    return path


def _open(
    browser: Browser,
    airflow: AirflowApi,
    address: str,
    size: tuple[int, int],
    storage: dict[str, str] | None = None,
) -> Page:
    page = new_page(browser, size, {"_token": (airflow.token(), airflow.url)}, storage)
    page.goto(airflow.url + address)
    return page
