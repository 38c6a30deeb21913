"""Commits of a Delta table, for the sensor and triggers: delta-rs reads them, pure rules decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from recsim_tasks.catalogue.delta.log import CHANGE_FEED, CommitInfo, has_change_feed, read_commits
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import RecsimError

if TYPE_CHECKING:
    from deltalake import DeltaTable

# Prefixes of operations that change no rows. An unknown operation counts as a change: a needless look costs
# one skipped refresh.
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
    """The table has no change feed, so its changes cannot be read.

    Not an `AirflowException`: a broken catalogue must never pass for a skipped wait.
    """


class UnreadableTableError(OSError):
    """The table cannot be read now; a retry may succeed. No `AirflowException` either."""


@dataclass(frozen=True)
class TableHead:
    """The newest commit of a table, and whether its change feed is on."""

    table_id: str
    version: int
    change_feed: bool


@dataclass(frozen=True)
class VersionCondition:
    """The commit to wait for: `min_version`, or if that is None any commit after the cursor `after`."""

    min_version: int | None
    after: Cursor | None

    def start(self, head: TableHead) -> int:
        """The first new version; 0 if the cursor is of another table, or the table was reset to before it."""
        known = self.after.version if self.after and self.after.table_id == head.table_id else -1
        return known + 1 if known <= head.version else 0

    def version(self, head: TableHead) -> int:
        """The version that ends the wait."""
        return self.start(head) if self.min_version is None else self.min_version


@dataclass(frozen=True)
class WaitStatus:
    """`ready` to continue, `wait` for a commit, or `refuse` for good; with the reason in one line."""

    kind: Literal["ready", "wait", "refuse"]
    sentence: str


def wait_status(table_uri: str, head: TableHead | None, condition: VersionCondition) -> WaitStatus:
    """Decide from the head of a table, which is None where there is no table yet."""
    if head is None:
        return WaitStatus("wait", f"{table_uri} does not exist yet.")
    if not head.change_feed:
        return WaitStatus(
            "refuse",
            f"{table_uri} has no change feed. Set its property {CHANGE_FEED} to true, then rebuild the "
            "index.",
        )
    version = condition.version(head)
    if head.version < version:
        return WaitStatus("wait", f"{table_uri} is at version {head.version}, not yet at {version}.")
    return WaitStatus("ready", f"{table_uri} is at version {head.version}; {version} was asked for.")


@dataclass(frozen=True)
class LastLook:
    """Up to where a trigger has looked at a table, and when (Unix seconds)."""

    cursor: Cursor
    at: float

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LastLook | None:
        """Read the form that the state store keeps; None for an empty one."""
        return cls(Cursor.from_json(value), float(value["at"])) if value else None


@dataclass(frozen=True)
class TableChanges:
    """The head of a table, and the versions since the last look that were not made by a refresh."""

    head: Cursor
    foreign: list[int]

    def due(
        self, last: LastLook | None, committed: Cursor | None, *, now: float, reannounce_after: float
    ) -> tuple[bool, bool]:
        """Whether to announce the table, and whether to record this look.

        Foreign changes are announced at once. A table that has been ahead of `committed` for
        `reannounce_after` seconds without a new commit is announced again: an event may have been lost, or a
        refresh may have failed.
        """
        moved = last is None or last.cursor != self.head
        overdue = (
            last is not None and not moved and self.head != committed and now - last.at > reannounce_after
        )
        return bool(self.foreign) or overdue, moved or overdue


def is_foreign(commit: CommitInfo) -> bool:
    """Whether a commit changes rows and is not by a refresh, which puts its id into the metadata."""
    operation = commit.operation.upper()
    if operation.startswith(HOUSEKEEPING) and not operation.endswith(" AS SELECT"):
        return False
    return not commit.user_metadata.get("refresh")


def table_head(table_uri: str, options: dict[str, str]) -> TableHead | None:
    """Read the head of a table. Blocks in native code: never call it in an event loop."""
    table = _open(table_uri, options)
    if table is None:
        return None
    metadata = table.metadata()
    return TableHead(str(metadata.id), table.version(), has_change_feed(metadata.configuration))


def table_changes(table_uri: str, known: list[Cursor | None], options: dict[str, str]) -> TableChanges | None:
    """Read what is new in a table since the newest of the `known` cursors. Blocks like `table_head`.

    Commits that were removed from the log count as foreign.
    """
    table = _open(table_uri, options)
    if table is None:
        return None
    head = Cursor(str(table.metadata().id), table.version())
    versions = [
        cursor.version
        for cursor in known
        if cursor and cursor.table_id == head.table_id and cursor.version <= head.version
    ]
    commits = read_commits(table_uri, range(max(versions, default=-1) + 1, head.version + 1), options)
    try:
        foreign = [version for version, commit in commits if commit is None or is_foreign(commit.info)]
    except RecsimError as error:
        raise UnreadableTableError(str(error)) from error
    return TableChanges(head, foreign)


def _open(table_uri: str, options: dict[str, str]) -> DeltaTable | None:
    """Open the table with delta-rs; None where there is none."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        return DeltaTable(table_uri, storage_options=options or None)
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        raise UnreadableTableError(f"{table_uri} cannot be read: {error}".splitlines()[0]) from error
