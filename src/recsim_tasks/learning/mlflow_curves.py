"""Curves in MLflow: runs that only have metrics, which MLflow draws as lines over steps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


class CurvesRun:
    """The run `name` of an experiment, with a curve per metric; it is created with the first point."""

    def __init__(self, client: MlflowClient, experiment_id: str, name: str) -> None:
        self.client, self.experiment_id, self.name = client, experiment_id, name

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add a point at `step` to the curve of each metric; a point that exists stays as it is."""
        from mlflow.entities import Metric

        run = self._find() or self.client.create_run(
            self.experiment_id, run_name=self.name, tags={"curve": self.name}
        )
        now = int(time.time() * 1000)
        logged = {
            name
            for name in values
            for point in self.client.get_metric_history(run.info.run_id, name)
            if point.step == step
        }
        new = [Metric(name, value, now, step) for name, value in values.items() if name not in logged]
        self.client.log_batch(run.info.run_id, metrics=new)
        self.client.set_terminated(run.info.run_id)

    def points(self, metric: str) -> list[tuple[float, int]]:
        """The points of a metric by step: seconds since the epoch, and the value as an integer."""
        run = self._find()
        points = self.client.get_metric_history(run.info.run_id, metric) if run else []
        return [(p.timestamp / 1000, int(p.value)) for p in sorted(points, key=lambda p: p.step)]

    def _find(self) -> Run | None:
        runs = self.client.search_runs([self.experiment_id], f"tags.curve = '{self.name}'", max_results=1)
        return runs[0] if runs else None
