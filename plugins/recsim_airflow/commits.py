"""What a table's commits say to those who wait for them; delta-rs reads, pure rules decide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from recsim_tasks.foundation.outages import diagnose

Cursor = dict[str, Any]
"""`table_id` and `version`, as the state store and the jobs' results carry it; empty where nothing was noted yet."""

# Commits by which no row comes, goes or changes. What is not named here counts as a change: looking once too often costs a skip.
HOUSEKEEPING = (
    "OPTIMIZE",
    "VACUUM",
    "CREATE TABLE",
    "ADD",
    "CHANGE",
    "DROP",
    "RENAME",
    "SET",
    "UNSET",
    "UPGRADE",
    "CLUSTER",
    "REORG",
)


class ChangeFeedOffError(ValueError):
    """The table has no change feed: what changed in it cannot be told.

    Not an `AirflowException`: a broken catalogue must never pass for a skipped wait.
    """


class UnreadableTableError(OSError):
    """The table cannot be read; no `AirflowException` either, and another try may find it mended."""


@dataclass(frozen=True)
class TableHead:
    """The newest commit of a table, and whether its change feed is on."""

    table_id: str
    version: int
    change_feed: bool


@dataclass(frozen=True)
class VersionCondition:
    """The commit that is waited for: `min_version`, or without one whatever is newer than the cursor `after`."""

    min_version: int | None
    after: Cursor

    def start(self, head: TableHead) -> int:
        """The first version that is news; the very first where the cursor is of another table, or was overtaken by a restore."""
        known = self.after.get("version", -1) if self.after.get("table_id") == head.table_id else -1
        return known + 1 if known <= head.version else 0

    def version(self, head: TableHead) -> int:
        """The version that ends the wait."""
        return self.start(head) if self.min_version is None else self.min_version


@dataclass(frozen=True)
class Decision:
    """`ready` to go on, `wait` for a commit, or `refuse` for good; with the reason in one line."""

    kind: Literal["ready", "wait", "refuse"]
    sentence: str


def decide(table_uri: str, head: TableHead | None, condition: VersionCondition) -> Decision:
    """Decide from a table's head, `None` where there is no table yet."""
    if head is None:
        return Decision("wait", f"{table_uri} does not exist yet.")
    if not head.change_feed:
        return Decision(
            "refuse",
            f"{table_uri} has no change feed. Set its property delta.enableChangeDataFeed to true, then rebuild the index.",
        )
    version = condition.version(head)
    if head.version < version:
        return Decision("wait", f"{table_uri} is at version {head.version}, not yet at {version}.")
    return Decision("ready", f"{table_uri} is at version {head.version}; {version} was asked for.")


@dataclass(frozen=True)
class TableChanges:
    """What a look at a table shows to who has `seen` it before: its head now, and which commits since are somebody else's changes."""

    table_id: str
    version: int
    foreign: list[int]

    def due(self, seen: Cursor, committed: Cursor, now: float, reannounce_after: float) -> tuple[bool, bool]:
        """Whether to announce, and whether to note this look.

        Somebody else's change is announced at once. A table that has stood past `committed` for `reannounce_after` seconds without any
        news is announced too: an event may have been lost, or a refresh may have failed.
        """
        moved = not self._is(seen)
        overdue = not moved and not self._is(committed) and now - seen["at"] > reannounce_after
        return bool(self.foreign) or overdue, moved or overdue

    def _is(self, cursor: Cursor) -> bool:
        return (cursor.get("table_id"), cursor.get("version")) == (self.table_id, self.version)


def is_foreign(commit: dict[str, Any]) -> bool:
    """Whether a commit changes data and no refresh made it; a refresh leaves its id in the commit's metadata."""
    if str(commit.get("operation", "")).upper().startswith(HOUSEKEEPING):
        return False
    try:
        told = json.loads(commit.get("userMetadata") or "{}")
    except ValueError:
        return True
    return not (isinstance(told, dict) and told.get("refresh"))


def table_head(table_uri: str, options: dict[str, str]) -> TableHead | None:
    """Read a Delta table's head. Blocks, in native code: never call it in an event loop."""
    table = _open(table_uri, options)
    if table is None:
        return None
    metadata = table.metadata()
    change_feed = (metadata.configuration.get("delta.enableChangeDataFeed") or "").lower() == "true"
    return TableHead(str(metadata.id), table.version(), change_feed)


def table_changes(table_uri: str, known: list[Cursor], options: dict[str, str]) -> TableChanges | None:
    """Read what is new in a Delta table to who knows the cursors `known`. Blocks as `table_head` does."""
    table = _open(table_uri, options)
    if table is None:
        return None
    table_id, head = str(table.metadata().id), table.version()
    after = max(
        (
            cursor["version"]
            for cursor in known
            if cursor.get("table_id") == table_id and cursor["version"] <= head
        ),
        default=-1,
    )
    return TableChanges(
        table_id,
        head,
        [
            version
            for version, commit in _commits(table_uri, range(after + 1, head + 1), options)
            if is_foreign(commit)
        ],
    )


def _commits(
    table_uri: str, versions: range, options: dict[str, str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """What each commit says of itself; nothing where the log was cleaned.

    One by one: `DeltaTable.history` keeps Python's lock until it has them all, which stops the event loop from any thread.
    """
    from deltalake.fs import DeltaStorageHandler

    store = DeltaStorageHandler(table_uri, options or None)
    for version in versions:
        try:
            lines = store.open_input_file(f"_delta_log/{version:020d}.json").read().splitlines()
        except (OSError, ValueError) as error:
            if known := diagnose(error, f"the table {table_uri}"):
                raise UnreadableTableError(str(known)) from error
            lines = []
        told = next((line for line in lines if line.startswith(b'{"commitInfo"')), b"{}")
        yield version, json.loads(told).get("commitInfo", {})


def _open(table_uri: str, options: dict[str, str]) -> Any:
    """The table with delta-rs; `None` where there is none."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        return DeltaTable(table_uri, storage_options=options or None)
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        raise UnreadableTableError(f"{table_uri} cannot be read: {error}".splitlines()[0]) from error
