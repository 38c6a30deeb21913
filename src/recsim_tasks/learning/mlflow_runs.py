"""Runs in MLflow: trainings, searches and their trials. The package `release` has the model registry."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.redaction import first_line
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.mlflow_errors import (
    SQLITE,
    client_errors,
    database_file,
    is_unavailable,
    translated_errors,
)
from recsim_tasks.learning.spec import TrainingSpec, ValidationResult

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)

EXPERIMENT = "recsim"
ROUND_METRICS = ("loss", "precision_at_1", "map_at_r", "spread")


@dataclass(frozen=True)
class RoundLogger:
    """Logs rounds as they end, from rank 0; an unreachable tracking server only delays the curves."""

    uri: str
    run_id: str

    def on_round(self, rounds: Sequence[ValidationResult]) -> bool:
        """Log the last of `rounds`; always returns True: continue."""
        from mlflow import MlflowClient

        _set_client_defaults()
        try:
            _check_database(self.uri)
            _log_rounds(MlflowClient(self.uri), self.run_id, rounds[-1:])
        except client_errors() as error:
            log.warning(
                "Could not log this validation to MLflow now; it will be logged at the end of training: %s",
                first_line(error),
            )
        return True


@dataclass(frozen=True)
class TrackedRun:
    """One run of MLflow."""

    client: MlflowClient
    run_id: str

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log parameters."""
        for name, value in params.items():
            self.client.log_param(self.run_id, name, value)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics that have one value."""
        for name, value in metrics.items():
            self.client.log_metric(self.run_id, name, value)

    def log_rounds(self, rounds: Sequence[ValidationResult]) -> None:
        """Log the metrics of each round against the images seen; skips rounds that are logged already."""
        logged = {point.step for point in self.client.get_metric_history(self.run_id, ROUND_METRICS[0])}
        _log_rounds(self.client, self.run_id, [r for r in rounds if r.images not in logged])

    def log_dataset(self, spec: TrainingSpec) -> None:
        """Log the catalogue at its version as the run's dataset."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = {"uri": spec.products_uri, **spec.cursor.as_json()}
        name = f"{spec.cursor.table_id}@{spec.cursor.version}"[-36:]  # MLflow's limit
        dataset = Dataset("products", name, "delta", json.dumps(source))
        tags = [InputTag("mlflow.data.context", "training")]
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])

    def set_tag(self, name: str, value: str) -> None:
        """Set a tag."""
        self.client.set_tag(self.run_id, name, value)

    def end(self, *, failed: bool) -> None:
        """End the run."""
        self.client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")


class Tracker:
    """The experiment `recsim` on the tracking server of the settings."""

    def __init__(self, settings: Settings) -> None:
        """Connect; `UnavailableError` within seconds when the server does not answer."""
        _set_client_defaults()
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it reports every step of a database migration
        uri = settings.tracking_uri
        if uri.startswith(SQLITE):
            database_file(uri).parent.mkdir(parents=True, exist_ok=True)
        with translated_errors(uri):
            _check_database(uri)
            self.client: MlflowClient = MlflowClient(uri)
            self.experiment_id = self._experiment(settings)

    @contextmanager
    def run(
        self,
        name: str,
        cursor: Cursor,
        params: Mapping[str, object],
        *,
        note: Path | None = None,
        digest: str = "",
    ) -> Iterator[TrackedRun]:
        """Open a run for as long as the block lasts; it ends as failed when the block raises.

        The file `note`, if given, records the run, so that the work of the same `digest`, killed and retried,
        continues it.
        """
        run = (self._noted_run(note, digest) if note else None) or self.start(name, cursor, params)
        if note:
            write_json(note, {"work": digest, "mlflow_run_id": run.run_id})
            self.client.update_run(run.run_id, "RUNNING")
        try:
            yield run
        except BaseException:
            with suppress(Exception):  # what ended the work is the reason, not that MLflow cannot record it
                run.end(failed=True)
            raise
        run.end(failed=False)

    def start(
        self, name: str, cursor: Cursor, params: Mapping[str, object], parent: TrackedRun | None = None
    ) -> TrackedRun:
        """Start a run, tagged with the version of the catalogue that it works on.

        Below a `parent`, a run of this name and these `params` that was started and not ended is continued.
        """
        tags = {"catalogue.table_id": cursor.table_id, "catalogue.version": str(cursor.version)}
        if parent:
            tags["mlflow.parentRunId"] = parent.run_id
        created = (self._unfinished(name, params, parent) if parent else None) or self.client.create_run(
            self.experiment_id, run_name=name, tags=tags
        )
        run = TrackedRun(self.client, str(created.info.run_id))
        run.log_params(params)
        return run

    def ended_children(self, parent: TrackedRun) -> set[str]:
        """The names of the runs below `parent` that have ended."""
        return {str(run.info.run_name) for run in self._children(parent, "attributes.status != 'RUNNING'")}

    def _unfinished(self, name: str, params: Mapping[str, object], parent: TrackedRun) -> Run | None:
        for run in self._children(
            parent, f"attributes.run_name = '{name}' and attributes.status = 'RUNNING'"
        ):
            if all(run.data.params.get(key, str(value)) == str(value) for key, value in params.items()):
                return run
        return None

    def _children(self, parent: TrackedRun, condition: str) -> list[Run]:
        below = f"tags.mlflow.parentRunId = '{parent.run_id}'"
        return list(self.client.search_runs([self.experiment_id], f"{below} and {condition}"))

    def _noted_run(self, note: Path, digest: str) -> TrackedRun | None:
        from mlflow.exceptions import MlflowException

        try:
            noted = read_json(note)
            if noted["work"] != digest:
                return None
            info = self.client.get_run(noted["mlflow_run_id"]).info
            return TrackedRun(self.client, str(info.run_id)) if info.lifecycle_stage == "active" else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        except MlflowException as error:
            if is_unavailable(error):
                raise
            return None

    def _experiment(self, settings: Settings) -> str:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is not None:
            return str(experiment.experiment_id)
        # A database has no artifact location of its own: the default is the folder in which the job was
        # started.
        local = settings.tracking_uri.startswith(SQLITE)
        artifacts = (settings.home.absolute() / "mlflow" / "artifacts").as_uri() if local else None
        return str(self.client.create_experiment(EXPERIMENT, artifacts))


def _log_rounds(client: MlflowClient, run_id: str, rounds: Sequence[ValidationResult]) -> None:
    from mlflow.entities import Metric

    metrics = [
        Metric(name, getattr(r, name), int(r.at * 1000), r.images) for r in rounds for name in ROUND_METRICS
    ]
    client.log_batch(run_id, metrics=metrics)


def _check_database(uri: str) -> None:
    """Connect once to a database other than SQLite: MLflow would retry any failure for 100 s."""
    from mlflow.store.db.db_types import DATABASE_ENGINES
    from sqlalchemy import NullPool, create_engine

    if not uri.startswith(SQLITE) and re.split(r"[+:]", uri)[0] in DATABASE_ENGINES:
        create_engine(uri, poolclass=NullPool).connect().close()


def _set_client_defaults() -> None:
    """Give up within seconds; MLflow and libpq by default retry for minutes."""
    os.environ.setdefault("PGCONNECT_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
