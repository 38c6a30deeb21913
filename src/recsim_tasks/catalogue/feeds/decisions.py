"""A person's decision about a feed on hold."""

from __future__ import annotations

import getpass
from dataclasses import dataclass

from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.foundation.errors import InputError

MIN_DIGEST_LENGTH = 8


@dataclass(frozen=True, kw_only=True)
class FeedDecision:
    """Accept or refuse one feed."""

    feed: str
    """The feed's id, or at least the first 8 characters of its digest."""
    accepts: bool
    by: str
    """Who decided."""

    def matches(self, feed_id: str, digest: str) -> bool:
        """Return whether the decision is about this feed."""
        return self.feed == feed_id or (len(self.feed) >= MIN_DIGEST_LENGTH and digest.startswith(self.feed))

    def check_accepts(self, feed: Feed) -> None:
        """Raise `InputError` unless it accepts this feed, which was given by its folder."""
        if not self.accepts:
            raise InputError(
                f"Only a feed of the inbox can be refused, and {feed.folder} is not in it. Leave out the "
                "folder, or --refuse."
            )
        if not self.matches(feed.feed_id, feed.digest):
            raise InputError(
                f"The feed in {feed.folder} has the id {feed.feed_id} and the digest {feed.digest}, not "
                f"{self.feed!r}. Pass one of these to --accept."
            )


def parse_decision(accept: str | None, refuse: str | None, by: str | None) -> FeedDecision | None:
    """Return the decision that the options of the command line state; None if they state none."""
    if accept and refuse:
        raise InputError("A feed is either accepted or refused: pass one of --accept and --refuse.")
    feed = accept or refuse
    return FeedDecision(feed=feed, accepts=bool(accept), by=by or getpass.getuser()) if feed else None
