"""Extra links: buttons on a task's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

from recsim_tasks.contracts import REGISTERED_MODEL
from recsim_tasks.foundation.settings import load_settings

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class MlflowLink(BaseOperatorLink):
    """Opens the page in MLflow that shows the job's result: the gate's page, a run, or a model version."""

    name = "MLflow"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """The page's address; empty, which shows no button, if the result has no page."""
        result = XCom.get_value(ti_key=ti_key, key="return_value")
        return mlflow_page(load_settings().tracking_uri, result if isinstance(result, dict) else {})


def mlflow_page(tracking_uri: str, result: Mapping[str, Any]) -> str:
    """Address of the page in MLflow that shows `result`; empty if there is none, or no MLflow server."""
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
