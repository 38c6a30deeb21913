"""Check that the change data feed is complete between two versions before anyone relies on it.

Where the log was cleaned past a checkpoint, or the feed was off for a while, delta-rs returns an empty or
partial answer and no error (tried with 1.6.6). So every commit of the range is examined first. Only versions
count: no timestamps are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.log import CHANGE_FEED, TableMetadata, has_change_feed, read_commits
from recsim_tasks.catalogue.delta.reader import open_table
from recsim_tasks.catalogue.schema import INDEXED
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import ConfigurationError, MissingError

if TYPE_CHECKING:
    from deltalake import DeltaTable

APPEND_ONLY = "delta.appendOnly"
COLUMN_MAPPING = "delta.columnMapping.mode"
# Delta's defaults where the property is not set, in days.
RETENTIONS = {"delta.deletedFileRetentionDuration": 7.0, "delta.logRetentionDuration": 30.0}
DAYS = {"week": 7.0, "day": 1.0, "hour": 1 / 24, "minute": 1 / 1440, "second": 1 / 86400}


class ChangeFeedGapError(MissingError):
    """The change feed is incomplete between two versions; comparing whole tables still works."""


def open_change_range(uri: str, after: Cursor, to: Cursor) -> DeltaTable:
    """Return the table at `to`.

    Raises `ChangeFeedGapError` unless its change feed covers all of `(after, to]`.
    """
    if after.table_id != to.table_id:
        raise ChangeFeedGapError(
            f"The catalogue at {uri} was recreated after the release's version {after.version} of it."
        )
    if after.version > to.version:
        raise ChangeFeedGapError(
            f"The catalogue at {uri} was reset to version {to.version}, before the release's version "
            f"{after.version}."
        )
    table = open_table(uri, to)
    if fault := _unreadable(uri, table.metadata().configuration):
        raise ChangeFeedGapError(fault)
    changed = list(_metadata_changes(uri, after, to))
    if changed:
        changed.insert(0, (after.version, _metadata_at(uri, after)))
    for version, metadata in changed:
        _check_metadata(uri, version, metadata)
    _check_columns(uri, to.version, {field.name for field in table.schema().fields})
    return table


def short_retentions(uri: str, retention_days: int) -> list[str]:
    """Return a sentence, with the command to run, for each retention shorter than `retention_days`."""
    configuration = open_table(uri).metadata().configuration
    retentions = {
        name: parse_days(configuration[name]) if name in configuration else default
        for name, default in RETENTIONS.items()
    }
    return [
        f"{name} of the catalogue is {days:g} days, shorter than RECSIM_RETENTION_DAYS: after a longer pause "
        f"the index is rebuilt. Run: {_alter(uri, name, f'interval {retention_days} days')}"
        for name, days in retentions.items()
        if days < retention_days
    ]


def parse_days(interval: str) -> float:
    """Return the length in days of a Delta interval such as `interval 2 weeks 12 hours`."""
    return sum(
        int(number) * DAYS[unit]
        for number, unit in re.findall(r"(\d+) (week|day|hour|minute|second)", interval.lower())
    )


def check_table_properties(uri: str) -> None:
    """Raise `ConfigurationError`, with the command that repairs it, if the change feed misses new commits."""
    configuration = open_table(uri).metadata().configuration
    if fault := _unreadable(uri, configuration):
        raise ConfigurationError(f"Nothing was written. {fault}")
    if (configuration.get(APPEND_ONLY) or "").lower() == "true":
        raise ConfigurationError(
            f"Nothing was written. The catalogue at {uri} is append-only ({APPEND_ONLY}). "
            f"Run: {_alter(uri, APPEND_ONLY, 'false')}"
        )


def _unreadable(uri: str, configuration: dict[str, str | None]) -> str | None:
    if not has_change_feed(configuration):
        return f"The change feed of {uri} is off. Run: {_alter(uri, CHANGE_FEED, 'true')}"
    if (configuration.get(COLUMN_MAPPING) or "none").lower() != "none":
        return (
            f"The change feed of {uri} cannot be read because column mapping is on ({COLUMN_MAPPING}). "
            f"Run: {_alter(uri, COLUMN_MAPPING, 'none')}"
        )
    return None


def _check_metadata(uri: str, version: int, metadata: TableMetadata) -> None:
    if not metadata.has_change_feed:
        raise ChangeFeedGapError(
            f"The change feed of {uri} was off at version {version}: it lacks the changes until it was "
            "turned on again."
        )
    _check_columns(uri, version, metadata.columns)


def _check_columns(uri: str, version: int, names: Iterable[str]) -> None:
    if missing := [name for name in INDEXED if name not in set(names)]:
        raise ChangeFeedGapError(
            f"The catalogue at {uri} has no column {', '.join(missing)} at version {version}: net changes "
            "cannot be computed."
        )


def _metadata_at(uri: str, cursor: Cursor) -> TableMetadata:
    try:
        table = open_table(uri, cursor)
    except MissingError as error:
        raise ChangeFeedGapError(
            f"The properties of {uri} changed after version {cursor.version}, and its log no longer has the "
            "earlier ones."
        ) from error
    return TableMetadata.parse(table.metadata().configuration, table.schema().to_json())


def _metadata_changes(uri: str, after: Cursor, to: Cursor) -> Iterator[tuple[int, TableMetadata]]:
    """Yield the new metadata of commits in the range; `ChangeFeedGapError` if a commit is gone."""
    for version, commit in read_commits(uri, range(after.version + 1, to.version + 1)):
        if commit is None:
            raise ChangeFeedGapError(
                f"The log of {uri} was cleaned: version {version}, after the release's version "
                f"{after.version}, is gone."
            )
        if commit.metadata is not None:
            yield version, commit.metadata


def _alter(uri: str, name: str, value: str) -> str:
    return f"ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ('{name}' = '{value}')"
