"""Whether the catalogue has a feed: from the log's transactions, and from what a RESTORE has undone since.

Delta keeps a feed's transaction through a RESTORE although the feed's changes are gone. The log says which
commits are still in effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from recsim_tasks.catalogue.delta.lineage import lineage
from recsim_tasks.catalogue.delta.log import RESTORE, CommitInfo, read_history
from recsim_tasks.catalogue.delta.reader import open_if_exists
from recsim_tasks.catalogue.delta.storage_errors import translate_errors
from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.foundation.errors import InputError


class AppliedState(NamedTuple):
    """Whether the catalogue has a feed."""

    applied: bool
    undone_at: int | None = None
    """The version of the RESTORE that has undone the feed, if one has."""


def applied_state(uri: str, feed: Feed) -> AppliedState:
    """Return whether the catalogue has this delivery.

    Raises `InputError` if it has another one under the same id, or if the log cannot tell.
    """
    table = open_if_exists(uri)
    if table is None:
        return AppliedState(False)
    with translate_errors(uri):
        transaction = table.transaction_version(feed.application)
    if transaction is None:
        return AppliedState(False)
    history = read_history(table)
    restores = [info.version for info in history if info.operation == RESTORE]
    if not restores:
        return _applied(feed, transaction == feed.transaction)
    digests, effective = _digests(history, feed.feed_id), lineage(history, table.version())
    latest = max((version for version in digests if version in effective.versions), default=None)
    if latest is not None:
        return _applied(feed, digests[latest] == feed.digest)
    if digests and effective.complete_to is not None:
        return AppliedState(False, max(restores))
    if not digests and effective.complete_to == min(info.version for info in history) - 1:
        # The feed is older than the log, and none of that was undone.
        return _applied(feed, transaction == feed.transaction)
    raise InputError(
        f"Feed {feed.feed_id} was applied before, but a RESTORE followed and the catalogue's log no longer "
        "tells whether the feed is still in it. Nothing was changed. Deliver these rows under another id."
    )


def _digests(history: Sequence[CommitInfo], feed_id: str) -> dict[int, str]:
    """Return the digest of each delivery under this id that the log has, by the version that applied it."""
    return {
        info.version: str(info.user_metadata.get("digest"))
        for info in history
        if info.user_metadata.get("feed_id") == feed_id
    }


def _applied(feed: Feed, same_content: bool) -> AppliedState:
    if not same_content:
        raise InputError(
            f"Feed {feed.feed_id} in {feed.folder} was applied before with other content; an id can be used "
            "once. Nothing was changed. Deliver these rows under another id."
        )
    return AppliedState(True)
