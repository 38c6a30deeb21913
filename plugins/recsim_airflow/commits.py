"""When a wait for a commit of the catalogue is over. One rule, which the sensor and its trigger share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class ChangeFeedOffError(ValueError):
    """The table has no change feed: what changed in it cannot be told.

    Not an `AirflowException`: a broken catalogue must never pass for a skipped wait.
    """


@dataclass(frozen=True)
class TableHead:
    """The newest commit of a table, and whether its change feed is on."""

    table_id: str
    version: int
    change_feed: bool


@dataclass(frozen=True)
class Decision:
    """`ready` to go on, `wait` for a commit, or `refuse` for good; with the reason in one line."""

    kind: Literal["ready", "wait", "refuse"]
    sentence: str


def decide(table_uri: str, head: TableHead | None, min_version: int) -> Decision:
    """Decide from a table's head, `None` where there is no table yet."""
    if head is None:
        return Decision("wait", f"{table_uri} does not exist yet.")
    if not head.change_feed:
        return Decision(
            "refuse", f"{table_uri} has no change feed. Set its property delta.enableChangeDataFeed to true, then rebuild the index."
        )
    if head.version < min_version:
        return Decision("wait", f"{table_uri} is at version {head.version}, not yet at {min_version}.")
    return Decision("ready", f"{table_uri} is at version {head.version}; {min_version} was asked for.")


def table_head(table_uri: str) -> TableHead | None:
    """Read a Delta table's head, by delta-rs. Blocks, in native code: never call it in an event loop."""
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    try:
        table = DeltaTable(table_uri)
    except TableNotFoundError:
        return None
    metadata = table.metadata()
    change_feed = metadata.configuration.get("delta.enableChangeDataFeed", "").lower() == "true"
    return TableHead(str(metadata.id), table.version(), change_feed)
