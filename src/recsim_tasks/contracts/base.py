"""The base of all results, and the cursor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

Verdict = Literal["passed", "rejected"]

# The registered model in MLflow, whose versions are the releases.
REGISTERED_MODEL = "recsim"


@dataclass(frozen=True)
class Cursor:
    """One version of one Delta table; a table that was dropped and created again has another id."""

    table_id: str
    version: int

    def as_json(self) -> dict[str, str | int]:
        """The form that manifests and results carry."""
        return {"table_id": self.table_id, "version": self.version}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cursor:
        """Read the form that manifests and results carry."""
        return cls(table_id=str(value["table_id"]), version=int(value["version"]))


class Record(BaseModel):
    """A frozen part of a result; unknown fields are refused.

    A result keeps a value of a subclass as the record that its field declares, as it reads it from its file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", revalidate_instances="subclass-instances")


class JobResult(Record):
    """What a job returns."""

    job: ClassVar[str]
    """The job's name, which is the stem of its file in a workspace."""
    elapsed_seconds: float | None = None
    """How long the job took, as its runner measured it."""

    @property
    def summary(self) -> str:
        """What the job did, in one line."""
        raise NotImplementedError


class Failure(Record):
    """What a failed job prints, beside the fields of its result where it has one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    error: str
    error_type: str
    exit_code: int
