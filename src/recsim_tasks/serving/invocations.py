"""MLflow's scoring protocol: a table with a column `image`, in one of three forms, and `params`."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.release.search_options import SearchOptions

MAX_ROWS, MAX_COLUMNS = 100, 100
FORMS = (
    "Send one of `dataframe_split`, `dataframe_records` or `inputs`, with a column `image` of base64 text."
)


T = TypeVar("T")
# The number of rows is checked first, and the first fault ends the validation: a body can have millions.
Rows = Annotated[list[T], Field(max_length=MAX_ROWS, fail_fast=True)]


class DataFrameSplit(BaseModel):
    """A table as column names and rows of values."""

    model_config = ConfigDict(extra="ignore")  # MLflow's clients add `index`

    columns: list[str] = Field(max_length=MAX_COLUMNS, fail_fast=True)
    data: Rows[list[Any]]


class InvocationRequest(BaseModel):
    """A table with a column `image` of base64 text, in one of MLflow's three forms, and search options."""

    model_config = ConfigDict(extra="forbid")

    dataframe_split: DataFrameSplit | None = Field(None, description="Column names and rows of values.")
    dataframe_records: Rows[dict[str, Any]] | None = Field(None, description="A list of rows.")
    inputs: dict[str, Rows[Any]] | Rows[dict[str, Any]] | None = Field(
        None, description="Columns by name, or a list of rows."
    )
    params: SearchOptions = Field(default_factory=SearchOptions, description="Options of all rows.")

    def images(self) -> list[str]:
        """Return the column `image`; `InputError` when there is none."""
        given = [
            form for form in (self.dataframe_split, self.dataframe_records, self.inputs) if form is not None
        ]
        if len(given) != 1:
            raise InputError(FORMS)
        column = _column(given[0])
        if not all(isinstance(value, str) for value in column):
            raise InputError(FORMS)
        return column


def _column(table: DataFrameSplit | dict[str, list[Any]] | list[dict[str, Any]]) -> list[Any]:
    if isinstance(table, DataFrameSplit):
        if "image" not in table.columns or any(len(row) != len(table.columns) for row in table.data):
            raise InputError(FORMS)
        return [row[table.columns.index("image")] for row in table.data]
    if isinstance(table, dict):
        return table.get("image", [None])
    return [row.get("image") for row in table]
