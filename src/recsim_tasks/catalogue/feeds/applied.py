"""Whether the catalogue has a feed: from the log's transactions, and from what a RESTORE has undone since.

Delta keeps a feed's transaction through a RESTORE, although what the feed wrote is gone. The log tells which commits a version still has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from recsim_tasks.catalogue.delta.feed_commits import told_of
from recsim_tasks.catalogue.delta.lineage import RESTORE, Entry, lineage
from recsim_tasks.catalogue.delta.reader import reading
from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.foundation.errors import InputError


class Standing(NamedTuple):
    """Whether a feed is in the catalogue; where it was and is no more, the version of the RESTORE that undid it."""

    applied: bool
    undone_at: int | None = None


def standing(uri: str, feed: Feed) -> Standing:
    """How the catalogue stands to this very delivery; `InputError` when it has another one under the same id, or cannot tell."""
    from deltalake import DeltaTable

    with reading(uri):
        if not DeltaTable.is_deltatable(uri):
            return Standing(False)
        table = DeltaTable(uri)
        known = table.transaction_version(feed.application)
        if known is None:
            return Standing(False)
        history = table.history()
    restored = [int(entry["version"]) for entry in history if entry.get("operation") == RESTORE]
    if not restored:
        return _same(feed, known == feed.transaction)
    digests, kept = _digests(history, feed.feed_id), lineage(history, table.version())
    mine = max((version for version in digests if version in kept.versions), default=None)
    if mine is not None:
        return _same(feed, digests[mine] == feed.digest)
    if digests and kept.below is not None:
        return Standing(False, max(restored))
    if not digests and kept.below == min(int(entry["version"]) for entry in history) - 1:
        return _same(feed, known == feed.transaction)  # older than the log tells, and not undone since
    raise InputError(
        f"Feed {feed.feed_id} was applied before, and the catalogue was put back since (RESTORE). Its log no longer tells whether the feed "
        "is still in it: deliver these rows under another id. Nothing was changed."
    )


def _digests(history: Sequence[Entry], feed_id: str) -> dict[int, str]:
    """By version, the digest of the deliveries under this id that the log tells of."""
    found = {int(entry["version"]): told_of(entry) for entry in history}
    return {
        version: str(said.get("digest")) for version, said in found.items() if said.get("feed_id") == feed_id
    }


def _same(feed: Feed, same: bool) -> Standing:
    if not same:
        raise InputError(
            f"Feed {feed.feed_id} in {feed.folder} was applied before with other content. A feed's id is used once: "
            "deliver these rows under another one. Nothing was changed."
        )
    return Standing(True)
