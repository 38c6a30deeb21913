"""Runs in MLflow: what was tried, with what, how well it went. Not the registry, which is the release's."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.mlflow_errors import SQLITE, database_file, is_away, speaking
from recsim_tasks.learning.spec import Job, Round

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

EXPERIMENT = "recsim"
MEASURES = ("loss", "precision_at_1", "map_at_r", "spread")


@dataclass(frozen=True)
class RoundLog:
    """Adds rounds to a run as they end, from wherever a rank runs; a tracking server that it cannot reach only costs the view."""

    uri: str
    run_id: str

    def heard(self, rounds: Sequence[Round]) -> bool:
        """Log the last of `rounds`; always to go on."""
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        _be_quick()
        try:
            _log_rounds(MlflowClient(self.uri), self.run_id, rounds[-1:])
        except (MlflowException, OSError) as error:
            log.info(
                f"MLflow does not take this round, it is logged at the end: {redacted(str(error)).splitlines()[0][:200]}"
            )
        return True


class Tracker:
    """The experiment `recsim` on the tracking server of the settings."""

    def __init__(self, settings: Settings) -> None:
        """Connect; `UnavailableError` within seconds when the server does not answer."""
        _be_quick()
        from mlflow import MlflowClient

        uri = settings.tracking_uri
        if uri.startswith(SQLITE):
            database_file(uri).parent.mkdir(parents=True, exist_ok=True)
        with speaking(uri):
            _check_database(uri)
            self.client: MlflowClient = MlflowClient(uri)
            self.experiment_id = self._experiment(settings)

    @contextmanager
    def run(
        self, name: str, cursor: Cursor, params: Mapping[str, Any], note: Path | None = None, work: str = ""
    ) -> Iterator[str]:
        """Keep a run open while its work goes on; yields its id. It ends as failed when the work raises.

        A `note` remembers the run, so that the same `work`, killed and tried again, goes on in it.
        """
        run_id = (self._noted(note, work) if note else None) or self.start(name, cursor, params)
        if note:
            write_json(note, {"work": work, "mlflow_run_id": run_id})
            self.client.update_run(run_id, "RUNNING")
        try:
            yield run_id
        except BaseException:
            with suppress(Exception):  # what ended the work is the reason, not that MLflow cannot be told
                self.client.set_terminated(run_id, "FAILED")
            raise
        self.client.set_terminated(run_id, "FINISHED")

    def start(self, name: str, cursor: Cursor, params: Mapping[str, Any], parent: str | None = None) -> str:
        """Open a run, tagged with the version of the catalogue that it works on; its id."""
        tags = {"catalogue.table_id": cursor.table_id, "catalogue.version": str(cursor.version)}
        run = self.client.create_run(
            self.experiment_id, run_name=name, tags=tags | ({"mlflow.parentRunId": parent} if parent else {})
        )
        for key, value in params.items():
            self.client.log_param(run.info.run_id, key, value)
        return str(run.info.run_id)

    def follow(self, curve: str, values: Mapping[str, float], step: int) -> None:
        """Have `values` at `step` in the one run that is called `curve`, whose metrics MLflow draws as lines; once a step."""
        from mlflow.entities import Metric

        found = self.client.search_runs([self.experiment_id], f"tags.curve = '{curve}'", max_results=1)
        run = (
            found[0]
            if found
            else self.client.create_run(self.experiment_id, run_name=curve, tags={"curve": curve})
        )
        now = int(time.time() * 1000)
        known = {
            name
            for name in values
            for point in self.client.get_metric_history(run.info.run_id, name)
            if point.step == step
        }
        self.client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, now, step) for name, value in values.items() if name not in known],
        )
        self.client.set_terminated(run.info.run_id)

    def points(self, curve: str, name: str) -> list[tuple[float, int]]:
        """The points of metric `name` in the run `curve`, by their steps: when, in unix seconds, and the whole number that it was."""
        found = self.client.search_runs([self.experiment_id], f"tags.curve = '{curve}'", max_results=1)
        points = self.client.get_metric_history(found[0].info.run_id, name) if found else []
        return [
            (point.timestamp / 1000, int(point.value))
            for point in sorted(points, key=lambda point: point.step)
        ]

    def log_rounds(self, run_id: str, rounds: Sequence[Round]) -> None:
        """Each round's measures, at the time they were taken, against the images seen; once a round."""
        logged = {point.step for point in self.client.get_metric_history(run_id, MEASURES[0])}
        _log_rounds(self.client, run_id, [r for r in rounds if r.images not in logged])

    def log_catalogue(self, run_id: str, job: Job) -> None:
        """Name the version of the catalogue as the run's dataset."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = {"uri": job.products, **job.cursor.as_json()}
        dataset = Dataset(
            "products", f"{job.cursor.table_id}@{job.cursor.version}"[-36:], "delta", json.dumps(source)
        )
        self.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def _noted(self, note: Path, work: str) -> str | None:
        from mlflow.exceptions import MlflowException

        try:
            noted = read_json(note)
            return (
                str(self.client.get_run(noted["mlflow_run_id"]).info.run_id)
                if noted["work"] == work
                else None
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        except MlflowException as error:
            if is_away(error):
                raise
            return None

    def _experiment(self, settings: Settings) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        # A database knows no place for artifacts: by default they would land in whatever folder the job was started in.
        local = settings.tracking_uri.startswith(SQLITE)
        return str(
            self.client.create_experiment(
                EXPERIMENT, (settings.home.absolute() / "mlflow" / "artifacts").as_uri() if local else None
            )
        )


def _log_rounds(client: MlflowClient, run_id: str, rounds: Sequence[Round]) -> None:
    from mlflow.entities import Metric

    client.log_batch(
        run_id,
        metrics=[
            Metric(name, getattr(r, name), int(r.at * 1000), r.images) for r in rounds for name in MEASURES
        ],
    )


def _check_database(uri: str) -> None:
    """Connect once to a database other than SQLite: MLflow tries for 100 s, whatever the reason is that it cannot."""
    from mlflow.store.db.db_types import DATABASE_ENGINES
    from sqlalchemy import create_engine

    if not uri.startswith(SQLITE) and re.split(r"[+:]", uri)[0] in DATABASE_ENGINES:
        create_engine(uri).connect().close()


def _be_quick() -> None:
    """MLflow's own defaults, and libpq's, keep trying for minutes."""
    os.environ.setdefault("PGCONNECT_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
