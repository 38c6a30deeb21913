"""Read the Delta log: its commits, and the table's metadata in them (Delta protocol, "Delta Log Entries").

The rest of recsim, the Airflow plugin included, reads commits through this module. Importing it is cheap.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.delta.storage_errors import translate_errors
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.outages import diagnose

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.fs import DeltaStorageHandler

LOG_FOLDER = "_delta_log"
CHANGE_FEED = "delta.enableChangeDataFeed"
RESTORE = "RESTORE"


@dataclass(frozen=True)
class CommitInfo:
    """What the writer of a commit says about it. Only versions order commits: times depend on clocks."""

    version: int
    time: float
    """Unix seconds by the writer's clock; 0 if it gives none."""
    operation: str
    parameters: Mapping[str, Any]
    user_metadata: Mapping[str, Any]
    """The JSON object that the writer added, or an empty one; recsim's commits name feed and refresh."""

    @classmethod
    def parse(cls, version: int, info: Mapping[str, Any]) -> CommitInfo:
        """Read a `commitInfo` action, or an entry of deltalake's `history`."""
        return cls(
            version=version,
            time=float(info.get("timestamp") or 0) / 1000,
            operation=str(info.get("operation") or ""),
            parameters=as_object(info.get("operationParameters")),
            user_metadata=_parse_object(info.get("userMetadata")),
        )


@dataclass(frozen=True)
class TableMetadata:
    """The properties and columns of a table at one version."""

    configuration: Mapping[str, str | None]
    columns: frozenset[str]

    @classmethod
    def parse(cls, configuration: Mapping[str, str | None], schema: str) -> TableMetadata:
        """Read a table's properties, and its schema in Delta's JSON form."""
        return cls(configuration, frozenset(field["name"] for field in json.loads(schema)["fields"]))

    @property
    def has_change_feed(self) -> bool:
        """Whether commits write to the change data feed."""
        return has_change_feed(self.configuration)


@dataclass(frozen=True)
class Commit:
    """One commit of the log."""

    info: CommitInfo
    metadata: TableMetadata | None
    """The table's new metadata; None when the commit does not change it."""


def has_change_feed(configuration: Mapping[str, str | None]) -> bool:
    """Return whether a table with these properties has a change data feed."""
    return (configuration.get(CHANGE_FEED) or "").lower() == "true"


def commit_file(version: int) -> str:
    """Return the path of a commit below the table's location."""
    return f"{LOG_FOLDER}/{version:020d}.json"


def parse_commit(version: int, content: bytes) -> Commit:
    """Read the content of a commit file; `ValueError` when it is not JSON."""
    info: dict[str, Any] = {}
    metadata = None
    for line in content.splitlines():
        if line.startswith(b'{"commitInfo"'):
            info = json.loads(line)["commitInfo"]
        elif line.startswith(b'{"metaData"'):
            action = json.loads(line)["metaData"]
            metadata = TableMetadata.parse(action["configuration"], action["schemaString"])
    return Commit(CommitInfo.parse(version, info), metadata)


def read_commits(
    uri: str, versions: Iterable[int], storage_options: Mapping[str, str] | None = None
) -> Iterator[tuple[int, Commit | None]]:
    """Read commits from storage one by one; None for a version whose file is gone.

    `DeltaTable.history` keeps the GIL until it has read them all, which blocks an event loop even from
    another thread. Raises `RecsimError` when a commit cannot be read, such as `UnavailableError` when the
    storage is away.
    """
    from deltalake.fs import DeltaStorageHandler

    storage = DeltaStorageHandler(uri, dict(storage_options) if storage_options else None)
    for version in versions:
        try:
            commit = _read_commit(storage, version)
        except (OSError, ValueError) as error:
            raise diagnose(error, f"the table {uri}") or RecsimError(
                f"Version {version} in the log of the table at {uri} cannot be read: {error}. "
                "Run this again; if that does not help, repair the table."
            ) from error
        yield version, commit


def _read_commit(storage: DeltaStorageHandler, version: int) -> Commit | None:
    try:
        content = storage.open_input_file(commit_file(version)).read()
    except FileNotFoundError:
        return None
    return parse_commit(version, content)


def read_history(table: DeltaTable, limit: int | None = None) -> list[CommitInfo]:
    """Return the newest `limit` commits of a table, newest first; all that the log has if it is None."""
    with translate_errors(table.table_uri):
        entries = table.history(limit)
    return [CommitInfo.parse(int(entry["version"]), entry) for entry in entries]


def as_object(value: object) -> Mapping[str, Any]:
    """`value` if it is a JSON object, otherwise an empty one: other writers may write anything there."""
    return value if isinstance(value, dict) else {}


def _parse_object(text: object) -> Mapping[str, Any]:
    """Parse a JSON object; returns an empty one for anything else that other writers put there."""
    if not isinstance(text, str):
        return {}
    try:
        return as_object(json.loads(text))
    except (ValueError, RecursionError):
        return {}
