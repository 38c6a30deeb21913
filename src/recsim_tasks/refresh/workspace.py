"""The workspace of a refresh, where each step leaves its result and outputs for the steps after it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from recsim_tasks.contracts import Cursor, JobResult, PlanResult
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.outages import outage_behind
from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.text import folder_name, is_one_line

# Airflow's run ids have at most 250 characters.
LONGEST_ID = 250
Result = TypeVar("Result", bound=JobResult)


@dataclass(frozen=True)
class Workspace:
    """`HOME/refreshes/ID/`: `JOB.json` for each step; folders `model`, `index`, `release`, `champion-V`."""

    refresh_id: str
    folder: Path

    @classmethod
    def of(cls, settings: Settings, refresh_id: str) -> Workspace:
        """The workspace of a refresh; two ids never share one. `InputError` if the id is not valid.

        An id may contain what a path of Spark may not, such as the colons of an Airflow run id.
        """
        check_refresh_id(refresh_id)
        return cls(refresh_id, settings.home.absolute() / "refreshes" / folder_name(refresh_id))

    def keep(self, result: Result) -> Result:
        """Store a step's result for the steps after it."""
        write_json(self._path(type(result)), result.model_dump(mode="json"))
        return result

    def result(self, model: type[Result]) -> Result:
        """The result of an earlier step.

        `InputError` if the step has not run or its result cannot be read.
        """
        path = self._path(model)
        command = model.job.replace("-", " ")
        again = f"Run `recsim {command} --refresh {self.refresh_id}`"
        try:
            return model.model_validate(read_json(path))
        except FileNotFoundError as error:
            raise InputError(
                f"Refresh {self.refresh_id} has no result of `{command}` yet. {again} first."
            ) from error
        except ValidationError as error:
            raise InputError(
                f"{path} is not a result of `{command}`: {_fault(error)}. {again} again."
            ) from error
        except (IsADirectoryError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}. Remove it. {again} again.") from error

    def _path(self, model: type[JobResult]) -> Path:
        return self.folder / f"{model.job}.json"

    @property
    def plan(self) -> PlanResult:
        """The plan of this refresh."""
        return self.result(PlanResult)

    @property
    def head(self) -> Cursor:
        """The version of the catalogue that this refresh takes in, as planned."""
        return self.plan.head

    @property
    def index(self) -> Path:
        """The index that this refresh makes."""
        return self.folder / "index"

    @property
    def release(self) -> Path:
        """The bundle that this refresh registers."""
        return self.folder / "release"

    @property
    def champion(self) -> Path:
        """The bundle of the planned champion, once a step has fetched it.

        Another plan may find another champion.
        """
        return self.champion_of(self.plan.champion)

    def champion_of(self, version: int | None) -> Path:
        """Where the bundle of `version` is put when it is fetched as the champion."""
        return self.folder / f"champion-{version}"

    @property
    def own_model(self) -> Path:
        """The model that this refresh trains, if it does."""
        return self.folder / "model"

    @property
    def model(self) -> Path:
        """The model of the candidate: its own after a retrain, else the champion's."""
        return self.own_model if self.plan.decision == "retrain" else self.champion / "model"


def check_refresh_id(refresh_id: str) -> None:
    """`InputError` unless the text can be the id of a refresh.

    It names a workspace, is printed, and is a tag in MLflow.
    """
    if not refresh_id.strip(" .") or len(refresh_id) > LONGEST_ID or not is_one_line(refresh_id):
        raise InputError(
            f"{refresh_id[:80]!r} cannot be the id of a refresh. Give 1 to {LONGEST_ID} characters, "
            "not only dots or blanks, without line breaks and control characters."
        )


def read_result(folder: Path, model: type[Result]) -> Result | None:
    """The result of a job in the workspace `folder` of any refresh.

    None if it is missing or damaged; `UnavailableError` if an outage keeps it from being read.
    """
    path = folder / f"{model.job}.json"
    try:
        return model.model_validate(read_json(path))
    except (OSError, ValueError) as error:
        if outage := outage_behind(error, str(path)):
            raise outage from error
        return None


def last_written(path: Path) -> float:
    """When a file was last written, in seconds since the epoch; 0 if it does not exist."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _fault(error: ValidationError) -> str:
    faults = (f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}" for fault in error.errors())
    return "; ".join(faults)
