"""Constraints that other writers put on the catalogue: NOT NULL, CHECK and invariants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from recsim_tasks.catalogue.delta.reader import open_if_exists, open_table
from recsim_tasks.catalogue.schema import PRODUCT_TYPES
from recsim_tasks.foundation.errors import ConfigurationError

CHECK = "delta.constraints."


class Constraint(NamedTuple):
    """A condition in Spark SQL that every row must meet, and how to name it to people."""

    name: str
    condition: str


def read_constraints(uri: str) -> list[Constraint]:
    """Return the constraints of the table at `uri`; none where there is no table."""
    table = open_if_exists(uri)
    if table is None:
        return []
    checks = [
        Constraint(f"constraint {name.removeprefix(CHECK)}", str(condition))
        for name, condition in table.metadata().configuration.items()
        if name.startswith(CHECK)
    ]
    fields = {field.name: field for field in table.schema().fields}
    not_null = [
        Constraint(f"{name} NOT NULL", f"`{name}` IS NOT NULL")
        for name in PRODUCT_TYPES
        if name in fields and not fields[name].nullable
    ]
    invariants = [
        Constraint(f"the invariant of {name}", condition)
        for name, field in fields.items()
        if (condition := _invariant(field.metadata))
    ]
    return [*checks, *not_null, *invariants]


def check_foreign_columns(uri: str) -> None:
    """Raise `ConfigurationError` if a column that recsim does not write is NOT NULL."""
    unfilled = [
        field.name
        for field in open_table(uri).schema().fields
        if field.name not in PRODUCT_TYPES and not field.nullable and not _is_generated(field.metadata)
    ]
    if unfilled:
        raise ConfigurationError(
            f"Nothing was written. The catalogue at {uri} has the column {unfilled[0]} NOT NULL, which no "
            f"feed fills. Run: ALTER TABLE delta.`{uri}` ALTER COLUMN `{unfilled[0]}` DROP NOT NULL"
        )


def _invariant(metadata: Mapping[str, str]) -> str | None:
    try:
        return str(json.loads(metadata["delta.invariants"])["expression"]["expression"])
    except (KeyError, TypeError, ValueError):
        return None


def _is_generated(metadata: Mapping[str, str]) -> bool:
    return "delta.generationExpression" in metadata or any(
        name.startswith("delta.identity") for name in metadata
    )
