"""What other writers demand of every row of the catalogue: NOT NULL, CHECK constraints and invariants, as Delta's log has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from recsim_tasks.catalogue.delta.reader import open_table
from recsim_tasks.catalogue.delta.writer import PRODUCTS
from recsim_tasks.foundation.errors import ConfigurationError

if TYPE_CHECKING:
    pass

CHECK = "delta.constraints."
COLUMNS = [field.split()[0] for field in PRODUCTS.split(", ")]


class Constraint(NamedTuple):
    """A condition in Spark's SQL that holds for every row, and what it is called in the log."""

    name: str
    condition: str


def constraints(uri: str) -> list[Constraint]:
    """What a row must meet that is written to the table at `uri`; nothing where there is no table."""
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(uri):
        return []
    table = open_table(uri)
    checks = [
        Constraint(f"constraint {name.removeprefix(CHECK)}", str(condition))
        for name, condition in table.metadata().configuration.items()
        if name.startswith(CHECK)
    ]
    fields = {field.name: field for field in table.schema().fields}
    filled = [
        Constraint(f"{name} NOT NULL", f"`{name}` IS NOT NULL")
        for name in COLUMNS
        if name in fields and not fields[name].nullable
    ]
    invariants = [(name, _invariant(field.metadata)) for name, field in fields.items()]
    return [
        *checks,
        *filled,
        *(Constraint(f"the invariant of {name}", condition) for name, condition in invariants if condition),
    ]


def check_unfilled(uri: str) -> None:
    """`ConfigurationError` when another writer's own column may not be null: recsim has nothing to write into it."""
    fields = open_table(uri).schema().fields
    unfilled = [
        field.name
        for field in fields
        if field.name not in COLUMNS and not field.nullable and not _is_generated(field.metadata)
    ]
    if unfilled:
        raise ConfigurationError(
            f"Nothing is written. The catalogue at {uri} has the column {unfilled[0]} NOT NULL, which no feed fills. "
            f"Run: ALTER TABLE delta.`{uri}` ALTER COLUMN `{unfilled[0]}` DROP NOT NULL"
        )


def _invariant(metadata: dict[str, Any]) -> str | None:
    try:
        return str(json.loads(metadata["delta.invariants"])["expression"]["expression"])
    except (KeyError, TypeError, ValueError):
        return None


def _is_generated(metadata: dict[str, Any]) -> bool:
    return "delta.generationExpression" in metadata or any(
        name.startswith("delta.identity") for name in metadata
    )
