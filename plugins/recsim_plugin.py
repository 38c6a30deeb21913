"""Registers the UI with Airflow, nothing else: the code is in the package `recsim_airflow`."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from recsim_airflow.links import MlflowLink


class RecsimPlugin(AirflowPlugin):
    """The buttons of recsim's tasks."""

    name = "recsim"
    operator_extra_links = [MlflowLink()]  # noqa: RUF012 - the base class declares it so
