"""Registers links and listeners with Airflow. All other code is in the package `recsim_airflow`."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from recsim_airflow import listeners
from recsim_airflow.links import MlflowLink


class RecsimPlugin(AirflowPlugin):
    """Adds the button *MLflow* to tasks, and a listener to the scheduler."""

    name = "recsim"
    listeners = [listeners]  # noqa: RUF012 - the base class declares it so
    operator_extra_links = [MlflowLink()]  # noqa: RUF012 - the base class declares it so
