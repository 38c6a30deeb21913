"""MLflow's scoring protocol: `dataframe_split`, `dataframe_records` or `inputs` with a column `image`, and `params`."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.release.search_options import SearchOptions

MOST_ROWS, MOST_COLUMNS = 100, 100
FORMS = (
    "Send one of `dataframe_split`, `dataframe_records` or `inputs`, with a column `image` of base64 text."
)


T = TypeVar("T")
# Refused by their number, and at their first fault, before millions of faults are collected.
Rows = Annotated[list[T], Field(max_length=MOST_ROWS, fail_fast=True)]


class Split(BaseModel):
    """A table as names of columns and rows of values."""

    model_config = ConfigDict(extra="ignore")  # MLflow's clients add `index`

    columns: list[str] = Field(max_length=MOST_COLUMNS, fail_fast=True)
    data: Rows[list[Any]]


class Invocation(BaseModel):
    """The body of `POST /invocations`."""

    model_config = ConfigDict(extra="forbid")

    dataframe_split: Split | None = None
    dataframe_records: Rows[dict[str, Any]] | None = None
    inputs: dict[str, Rows[Any]] | Rows[dict[str, Any]] | None = None
    params: SearchOptions = Field(default_factory=SearchOptions)

    def images(self) -> list[str]:
        """The column `image`, row by row; `InputError` when there is none."""
        given = [
            form for form in (self.dataframe_split, self.dataframe_records, self.inputs) if form is not None
        ]
        if len(given) != 1:
            raise InputError(FORMS)
        column = _column(given[0])
        if not all(isinstance(value, str) for value in column):
            raise InputError(FORMS)
        return column


def _column(table: Split | dict[str, list[Any]] | list[dict[str, Any]]) -> list[Any]:
    if isinstance(table, Split):
        if "image" not in table.columns or any(len(row) != len(table.columns) for row in table.data):
            raise InputError(FORMS)
        return [row[table.columns.index("image")] for row in table.data]
    if isinstance(table, dict):
        return table.get("image", [None])
    return [row.get("image") for row in table]
