"""Where in the catalogue's history something stands."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Cursor:
    """One version of one table; a table that was dropped and created again has another id."""

    table_id: str
    version: int

    def as_json(self) -> dict[str, Any]:
        """The form that manifests and results carry."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Cursor:
        """Read the form that manifests and results carry."""
        return cls(table_id=str(value["table_id"]), version=int(value["version"]))
