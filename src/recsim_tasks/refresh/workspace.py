"""The workspace of a refresh: each step's result and outputs, and where it finds those of the steps before."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.settings import Settings

# A step is a process of its own, and this module is among the first that it imports.
STARTED = time.monotonic()


@dataclass(frozen=True)
class Workspace:
    """`HOME/refreshes/ID/`: `JOB.json` a step, and the folders `model`, `index`, `release`, `champion-V`."""

    refresh_id: str
    folder: Path

    @classmethod
    def of(cls, settings: Settings, refresh_id: str) -> Workspace:
        """The workspace of a refresh; an id may hold what a path of Spark's may not, such as the colons of an Airflow run."""
        return cls(refresh_id, settings.home.absolute() / "refreshes" / re.sub(r"[^A-Za-z0-9_.-]", "-", refresh_id))

    def keep(self, job: str, result: dict[str, Any]) -> dict[str, Any]:
        """Leave a step's result for the steps after it, with the `seconds` that its process has run; returns it as it was left."""
        left = {"seconds": round(time.monotonic() - STARTED, 1), **result}
        write_json(self.folder / f"{job}.json", left)
        return left

    def result(self, job: str) -> dict[str, Any]:
        """The result of an earlier step; `InputError` when it was not run."""
        try:
            value: dict[str, Any] = json.loads((self.folder / f"{job}.json").read_text())
        except FileNotFoundError as error:
            raise InputError(
                f"Refresh {self.refresh_id} has no {job} yet. Run `recsim {job} --refresh {self.refresh_id}` first."
            ) from error
        return value

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


def read_result(path: Path) -> dict[str, Any]:
    """The result in `path` of whichever refresh; empty when there is none that can be read."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
