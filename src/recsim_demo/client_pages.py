"""Screenshots of the shop, and of the gate's page in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import httpx

from recsim_demo.camera import around, new_page, take
from recsim_demo.watch import DAG
from recsim_local.airflow_api import AirflowApi
from recsim_tasks.contracts import GateResult
from recsim_tasks.foundation.errors import UnavailableError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESKTOP, PHONE = (1200, 800), (390, 844)
MARGIN = 16.0
# Rows of the sheet on the gate's page that the screenshot shows, and the width of the page.
VERDICT_QUERIES, VERDICT_WIDTH = 2, 1000
IMAGES_LOADED = "() => [...document.images].every(image => image.complete && image.naturalWidth)"


def take_shop(browser: Browser, shop: str, path: Path, size: tuple[int, int], product: str = "") -> Path:
    """The shop: all products, or one with what is similar to it."""
    page = new_page(browser, size)
    page.goto(f"{shop}/?{urlencode({'product': product})}" if product else shop)
    page.locator("a.card").first.wait_for()
    page.wait_for_function(IMAGES_LOADED)
    height = _end_of_last_row(page, size[1]) if size is DESKTOP else size[1]
    take(page, path, {"x": 0, "y": 0, "width": size[0], "height": height})
    page.context.close()
    return path


def take_verdict(browser: Browser, airflow: AirflowApi, mlflow: str, run_id: str, path: Path) -> Path:
    """The page to which the button *MLflow* of the task `gate` leads."""
    result = GateResult.model_validate(airflow.xcom(DAG, run_id, "gate"))
    page = new_page(browser, (VERDICT_WIDTH, 2200))
    page.set_content(_artifact(mlflow, result.mlflow_page))
    page.wait_for_function(IMAGES_LOADED)
    last = page.locator(".sheet .row").nth(VERDICT_QUERIES * 3)
    bottom = around(last)["y"] - 6
    take(page, path, {"x": 0, "y": 0, "width": VERDICT_WIDTH, "height": bottom})
    page.context.close()
    return path


def _end_of_last_row(page: Page, height: float) -> float:
    """Where the last row of products that is visible as a whole ends."""
    boxes = [box for card in page.locator("a.card").all() if (box := card.bounding_box())]
    return max(end for box in boxes if (end := box["y"] + box["height"] + MARGIN) <= height)


def _artifact(mlflow: str, mlflow_page: str) -> str:
    """The HTML that MLflow shows at `mlflow_page`: `experiments/E/runs/R/artifacts/PATH`."""
    _, _, after = mlflow_page.partition("/runs/")
    run_id, _, path = after.partition("/artifacts/")
    reply = httpx.get(f"{mlflow}/get-artifact", params={"run_uuid": run_id, "path": path}, timeout=60)
    if reply.is_error:
        raise UnavailableError(f"MLflow has no page {mlflow_page} ({reply.status_code}).")
    return reply.text
