"""Which feed made which version of the catalogue, from what its commits say of themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recsim_tasks.catalogue.delta.lineage import lineage
from recsim_tasks.catalogue.delta.reader import open_table
from recsim_tasks.contracts import Cursor


@dataclass(frozen=True)
class FeedCommit:
    """A feed, and the version that took it in."""

    version: int
    at: float
    """Unix seconds, by the writer's clock."""
    feed_id: str
    accepted_by: str | None = None
    """Who accepted it although a guard held it."""
    guards: frozenset[str] = frozenset()
    """Which guards held it."""


def feed_commits(uri: str) -> list[FeedCommit]:
    """All that the log still tells, oldest first, also those that a RESTORE has undone."""
    return _commits(open_table(uri).history())


def feeds_between(uri: str, after: Cursor | None, to: Cursor) -> list[FeedCommit]:
    """The feeds that lead from `after`, which is not theirs, to `to`; all up to `to` when `after` is None or of another table.

    A feed that a RESTORE has undone since is none of them.
    """
    first, history = (
        after.version + 1 if after and after.table_id == to.table_id else 0,
        open_table(uri).history(),
    )
    kept = lineage(history, to.version).versions
    return [commit for commit in _commits(history) if first <= commit.version and commit.version in kept]


def _commits(history: Sequence[dict[str, Any]]) -> list[FeedCommit]:
    found = [(entry, told_of(entry)) for entry in history]
    commits = [_commit(entry, told) for entry, told in found if "feed_id" in told]
    return sorted(commits, key=lambda commit: commit.version)


def _commit(entry: dict[str, Any], told: dict[str, Any]) -> FeedCommit:
    accepted = told.get("accepted") or {}
    at, guards = float(entry["timestamp"]) / 1000, frozenset(accepted.get("guards", ()))
    return FeedCommit(int(entry["version"]), at, str(told["feed_id"]), accepted.get("by"), guards)


def told_of(entry: dict[str, Any]) -> dict[str, Any]:
    """What the commit of an entry of the log says of itself; nothing of any other's than ours."""
    try:
        value = json.loads(entry.get("userMetadata"))  # type: ignore[arg-type]  # None is no text
    except (TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
