"""Which feed made which version of the catalogue, from what its commits say of themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.catalogue.table import open_table


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
    """All that the log still tells, oldest first."""
    found = [(entry, _told(entry.get("userMetadata"))) for entry in open_table(uri).history()]
    commits = [_commit(entry, told) for entry, told in found if "feed_id" in told]
    return sorted(commits, key=lambda commit: commit.version)


def feeds_between(uri: str, after: Cursor | None, to: Cursor) -> list[FeedCommit]:
    """The feeds that lead from `after`, which is not theirs, to `to`; all up to `to` when `after` is None or of another table."""
    first = after.version + 1 if after and after.table_id == to.table_id else 0
    return [commit for commit in feed_commits(uri) if first <= commit.version <= to.version]


def _commit(entry: dict[str, Any], told: dict[str, Any]) -> FeedCommit:
    accepted = told.get("accepted") or {}
    at, guards = float(entry["timestamp"]) / 1000, frozenset(accepted.get("guards", ()))
    return FeedCommit(int(entry["version"]), at, str(told["feed_id"]), accepted.get("by"), guards)


def _told(text: Any) -> dict[str, Any]:
    """What a commit of ours says; nothing of any other's."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
