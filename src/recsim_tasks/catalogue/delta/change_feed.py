"""Whether the change feed still tells all that happened between two versions.

delta-rs gives an empty or half answer, and no error, where the log was cleaned past a checkpoint or the feed was off for a while (tried with
1.6.6). So the commits of the range are looked at one by one before the feed is believed. Only versions decide: no time is compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.delta.reader import PRODUCT_FIELDS, open_table
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import ConfigurationError, MissingError
from recsim_tasks.foundation.outages import diagnose

if TYPE_CHECKING:
    from deltalake import DeltaTable

CHANGE_FEED = "delta.enableChangeDataFeed"
APPEND_ONLY = "delta.appendOnly"
COLUMN_MAPPING = "delta.columnMapping.mode"
# Delta's own defaults where the property is not set, in days.
RETENTIONS = {"delta.deletedFileRetentionDuration": 7.0, "delta.logRetentionDuration": 30.0}
DAYS = {"week": 7.0, "day": 1.0, "hour": 1 / 24, "minute": 1 / 1440, "second": 1 / 86400}


class RangeLostError(MissingError):
    """The change feed no longer reaches back to the cursor, or cannot be trusted; the whole table can still be compared."""


def open_range(uri: str, after: Cursor, to: Cursor) -> DeltaTable:
    """The table at `to`, when its change feed tells all of `(after, to]`; `RangeLostError` says why it does not."""
    if after.table_id != to.table_id:
        raise RangeLostError(
            f"The catalogue at {uri} was created anew since version {after.version}, up to which the cursor stands."
        )
    if after.version > to.version:
        raise RangeLostError(
            f"The catalogue at {uri} was put back to version {to.version}, before the cursor's {after.version}."
        )
    table = open_table(uri, to)
    configuration = table.metadata().configuration
    if fault := _unreadable(uri, configuration):
        raise RangeLostError(fault)
    changed = list(_metadata_changes(uri, after, to))
    if changed:
        changed.insert(0, (after.version, _metadata_at(uri, after)))
    for version, metadata in changed:
        _check_throughout(uri, version, metadata)
    _check_columns(uri, to.version, {field.name for field in table.schema().fields})
    return table


def short_retentions(uri: str, retention_days: int) -> list[str]:
    """A sentence, with the command that repairs it, for each property by which the range is kept shorter than `retention_days`."""
    configuration = open_table(uri).metadata().configuration
    kept = {
        name: days_of(configuration[name]) if name in configuration else default
        for name, default in RETENTIONS.items()
    }
    return [
        f"{name} of the catalogue is {days:g} days, shorter than RECSIM_RETENTION_DAYS: a longer pause costs a rebuild. "
        f"Run: {_alter(uri, name, f'interval {retention_days} days')}"
        for name, days in kept.items()
        if days < retention_days
    ]


def days_of(interval: str) -> float:
    """The length of one of Delta's intervals, such as `interval 2 weeks 12 hours`, in days."""
    return sum(
        int(number) * DAYS[unit]
        for number, unit in re.findall(r"(\d+) (week|day|hour|minute|second)", interval.lower())
    )


def check_properties(uri: str) -> None:
    """`ConfigurationError`, with the command that repairs it, when what is written to the table now could not be told later."""
    configuration = open_table(uri).metadata().configuration
    if fault := _unreadable(uri, configuration):
        raise ConfigurationError(f"Nothing is written. {fault}")
    if (configuration.get(APPEND_ONLY) or "").lower() == "true":
        raise ConfigurationError(
            f"Nothing is written. The catalogue at {uri} takes additions alone ({APPEND_ONLY}). Run: {_alter(uri, APPEND_ONLY, 'false')}"
        )


def _unreadable(uri: str, configuration: dict[str, str | None]) -> str | None:
    if (configuration.get(CHANGE_FEED) or "").lower() != "true":
        return f"The change feed of {uri} is off. Run: {_alter(uri, CHANGE_FEED, 'true')}"
    if (configuration.get(COLUMN_MAPPING) or "none").lower() != "none":
        return f"The change feed of {uri} cannot be read: column mapping is on ({COLUMN_MAPPING}). Run: {_alter(uri, COLUMN_MAPPING, 'none')}"
    return None


def _check_throughout(uri: str, version: int, metadata: dict[str, Any]) -> None:
    if (metadata["configuration"].get(CHANGE_FEED) or "").lower() != "true":
        raise RangeLostError(
            f"The change feed of {uri} was off at version {version}: it does not tell what happened until it was on again."
        )
    _check_columns(uri, version, {field["name"] for field in json.loads(metadata["schemaString"])["fields"]})


def _check_columns(uri: str, version: int, names: set[str]) -> None:
    if missing := [name for name in PRODUCT_FIELDS if name not in names]:
        raise RangeLostError(
            f"The catalogue at {uri} has no column {', '.join(missing)} at version {version}: its change feed cannot be netted."
        )


def _metadata_at(uri: str, cursor: Cursor) -> dict[str, Any]:
    try:
        table = open_table(uri, cursor)
    except MissingError as error:
        raise RangeLostError(
            f"The properties of {uri} changed after version {cursor.version}, and its log no longer tells what they were then."
        ) from error
    return {"configuration": table.metadata().configuration, "schemaString": table.schema().to_json()}


def _metadata_changes(uri: str, after: Cursor, to: Cursor) -> Iterator[tuple[int, dict[str, Any]]]:
    """The version and the new metadata of each commit in the range that changes it; `RangeLostError` when a commit is not there."""
    from deltalake.fs import DeltaStorageHandler

    store = DeltaStorageHandler(uri)
    for version in range(after.version + 1, to.version + 1):
        try:
            commit = store.open_input_file(f"_delta_log/{version:020d}.json").read()
        except (OSError, ValueError) as error:
            if known := diagnose(error, f"the table {uri}"):
                raise known from error
            raise RangeLostError(
                f"The log of {uri} was cleaned: version {version}, after the cursor's {after.version}, is gone."
            ) from error
        for line in commit.splitlines():
            if line.startswith(b'{"metaData"'):
                yield version, json.loads(line)["metaData"]


def _alter(uri: str, name: str, value: str) -> str:
    return f"ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ('{name}' = '{value}')"
