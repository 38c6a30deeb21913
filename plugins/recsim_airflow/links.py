"""Buttons on a task's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

from recsim_tasks.contracts import REGISTERED_MODEL
from recsim_tasks.foundation.settings import load_settings

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class MlflowLink(BaseOperatorLink):
    """Opens what the job left in MLflow: the gate's verdict, its run, or its model version."""

    name = "MLflow"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - the base's signature
        """Build the address from the task's result; empty, so without a button, where there is none."""
        result = XCom.get_value(ti_key=ti_key, key="return_value")
        return mlflow_page(load_settings().tracking_uri, result if isinstance(result, dict) else {})


def mlflow_page(tracking_uri: str, result: dict[str, Any]) -> str:
    """The page in MLflow's UI that shows `result`; empty if it has none, or if MLflow is not a server."""
    if not tracking_uri.startswith(("http://", "https://")):
        return ""
    base = f"{tracking_uri.rstrip('/')}/#"
    if page := result.get("mlflow_page"):
        return f"{base}/{page}"
    if run_id := result.get("mlflow_run_id"):
        return f"{base}/runs/{run_id}"
    if version := result.get("version"):
        return f"{base}/models/{REGISTERED_MODEL}/versions/{version}"
    return ""
