"""The workspace of a refresh: each step's result and outputs, and where it finds those of the steps before."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsim_tasks.contracts import Cursor, JobResult
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.text import folder_name, is_one_line

# A step is a process of its own, and this module is among the first that it imports.
STARTED = time.monotonic()
# Airflow's run ids have at most 250 characters.
LONGEST_ID = 250
NUMBER = (int, float)
# What later steps and refreshes read of a step's result, and of which type it is.
FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "plan": {
        "decision": (str,),
        "head": (dict,),
        "cursor": (dict, type(None)),
        "champion": (int, type(None)),
        "changes": (dict,),
        "warm_start": (bool,),
    },
    "tune": {"best_params": (dict,)},
    "train": {"trained_at": NUMBER},
    "evaluate": {"verdict": (str,), "reasons": (list,), "metrics": (dict,), "champion": (int, type(None))},
}


class StepResult(dict[str, Any]):
    """A step's result; `InputError` for a field that it does not have."""

    def __init__(self, path: Path, again: str, value: dict[str, Any]) -> None:
        super().__init__(value)
        self._path, self._again = path, again

    def __missing__(self, name: str) -> Any:
        raise InputError(f"The result {self._path} has no {name!r}. {self._again} again.")


@dataclass(frozen=True)
class Workspace:
    """`HOME/refreshes/ID/`: `JOB.json` a step, and the folders `model`, `index`, `release`, `champion-V`."""

    refresh_id: str
    folder: Path

    @classmethod
    def of(cls, settings: Settings, refresh_id: str) -> Workspace:
        """The workspace of a refresh; two ids never share one. `InputError` when the id cannot be one.

        An id may hold what a path of Spark's may not, such as the colons of an Airflow run.
        """
        check_refresh_id(refresh_id)
        return cls(refresh_id, settings.home.absolute() / "refreshes" / folder_name(refresh_id))

    def keep(self, job: str, result: JobResult | dict[str, Any]) -> dict[str, Any]:
        """Leave a step's result for the steps after it, with the `seconds` that its process has run; returns it as it was left."""
        fields = result.model_dump(mode="json") if isinstance(result, JobResult) else result
        left = {"seconds": round(time.monotonic() - STARTED, 1), **fields}
        write_json(self.folder / f"{job}.json", left)
        return left

    def result(self, job: str) -> dict[str, Any]:
        """The result of an earlier step; `InputError` when it was not run, or left none that can be read."""
        path, again = self.folder / f"{job}.json", f"Run `recsim {job} --refresh {self.refresh_id}`"
        try:
            value = read_json(path)
        except FileNotFoundError as error:
            raise InputError(f"Refresh {self.refresh_id} has no {job} yet. {again} first.") from error
        except (IsADirectoryError, ValueError) as error:
            raise InputError(
                f"The result {path} cannot be read: {error}. Remove it. {again} again."
            ) from error
        if fault := misfit(job, value):
            raise InputError(f"The result {path} is not one of {job}: {fault}. {again} again.")
        return StepResult(path, again, value)

    @property
    def head(self) -> Cursor:
        """The catalogue version that this refresh takes in, as planned."""
        return Cursor.from_json(self.result("plan")["head"])

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
        """The bundle of the champion that was planned with, once a step has fetched it; another plan may find another champion."""
        return self.champion_of(self.result("plan")["champion"])

    def champion_of(self, version: int) -> Path:
        """Where the bundle of `version` is put when it is fetched as the champion."""
        return self.folder / f"champion-{version}"

    @property
    def own_model(self) -> Path:
        """The model that this refresh trains, when it does."""
        return self.folder / "model"

    @property
    def model(self) -> Path:
        """The model of the release in the making: its own after a retrain, else the champion's."""
        return self.own_model if self.result("plan")["decision"] == "retrain" else self.champion / "model"


def check_refresh_id(refresh_id: str) -> None:
    """`InputError` unless the text can be a refresh's id: it names a workspace, is printed, and is a tag in MLflow."""
    if not refresh_id.strip(" .") or len(refresh_id) > LONGEST_ID or not is_one_line(refresh_id):
        raise InputError(
            f"{refresh_id[:80]!r} cannot be the id of a refresh. Give --refresh 1 to {LONGEST_ID} characters, "
            "not only dots or blanks, without line ends and control characters."
        )


def misfit(job: str, value: Any) -> str | None:
    """Which fields of a step's result are of another type than those that are read of it; None when all fit."""
    if not isinstance(value, dict):
        return f"it is a {type(value).__name__}, not an object"
    fields = FIELDS.get(job, {})
    wrong = [name for name in fields if name in value and not isinstance(value[name], fields[name])]
    wrong += [
        name
        for name in ("head", "cursor")
        if job == "plan" and value.get(name) is not None and not _is_cursor(value[name])
    ]
    return f"{', '.join(dict.fromkeys(wrong))} of another type" if wrong else None


def read_result(path: Path) -> dict[str, Any]:
    """The result in `path` of whichever refresh; empty when there is none that can be read, or it is not a step's."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    return value if misfit(path.stem, value) is None else {}


def last_written(path: Path) -> float:
    """When a file was written last, in Unix seconds; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _is_cursor(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("table_id"), str)
        and isinstance(value.get("version"), int)
    )
