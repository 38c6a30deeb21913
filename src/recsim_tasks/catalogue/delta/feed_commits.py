"""Which feed made which version of the catalogue, from the metadata of its commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recsim_tasks.catalogue.delta.lineage import lineage
from recsim_tasks.catalogue.delta.log import CommitInfo, as_object, read_history
from recsim_tasks.catalogue.delta.reader import open_table
from recsim_tasks.contracts import Cursor


@dataclass(frozen=True)
class FeedCommit:
    """The commit that applied a feed."""

    version: int
    at: float
    """Unix seconds by the writer's clock."""
    feed_id: str
    accepted_by: str | None = None
    """Who accepted the feed although a guard had put it on hold."""
    guards: frozenset[str] = frozenset()
    """The guards that had put it on hold."""


def feed_commits(uri: str) -> list[FeedCommit]:
    """Return all that the log still has, oldest first, including those that a RESTORE has undone."""
    return _feed_commits(read_history(open_table(uri)))


def feeds_between(uri: str, after: Cursor | None, to: Cursor) -> list[FeedCommit]:
    """Return the feeds that were applied in `(after, to]`.

    Returns all up to `to` if `after` is None or of another table, but none that a RESTORE has undone.
    """
    first = after.version + 1 if after and after.table_id == to.table_id else 0
    history = read_history(open_table(uri))
    effective = lineage(history, to.version).versions
    return [
        commit for commit in _feed_commits(history) if first <= commit.version and commit.version in effective
    ]


def _feed_commits(history: Sequence[CommitInfo]) -> list[FeedCommit]:
    commits = [_feed_commit(info) for info in history if "feed_id" in info.user_metadata]
    return sorted(commits, key=lambda commit: commit.version)


def _feed_commit(info: CommitInfo) -> FeedCommit:
    accepted = as_object(info.user_metadata.get("accepted"))
    return FeedCommit(
        version=info.version,
        at=info.time,
        feed_id=str(info.user_metadata["feed_id"]),
        accepted_by=accepted.get("by"),
        guards=frozenset(accepted.get("guards", ())),
    )
