from __future__ import annotations

from typing import Any

import pytest

from recsim_airflow.links import mlflow_page

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize(
    ("tracking_uri", "result", "page"),
    [
        ("http://mlflow:5000", {"mlflow_run_id": "abc"}, "http://mlflow:5000/#/runs/abc"),
        (
            "http://mlflow:5000/",
            {"version": 3, "stage": "Production"},
            "http://mlflow:5000/#/models/recsim/versions/3",
        ),
        (
            "http://mlflow:5000",
            {"version": 3, "mlflow_page": "experiments/1/runs/abc/artifacts/v.html"},
            "http://mlflow:5000/#/experiments/1/runs/abc/artifacts/v.html",
        ),
        ("http://mlflow:5000", {"decision": "append"}, ""),
        ("sqlite:////home/mlflow.db", {"mlflow_run_id": "abc"}, ""),
    ],
)
def test_the_button_opens_the_page_of_the_result_in_mlflow(
    tracking_uri: str, result: dict[str, Any], page: str
) -> None:
    assert mlflow_page(tracking_uri, result) == page
