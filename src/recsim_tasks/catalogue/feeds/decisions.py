"""What somebody says of a feed that a guard holds."""

from __future__ import annotations

import getpass
from dataclasses import dataclass

from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.foundation.errors import InputError

SHORTEST_DIGEST = 8


@dataclass(frozen=True)
class Answer:
    """`by` accepts or refuses the `feed`, which they name by its id or the beginning of its digest."""

    feed: str
    accepts: bool
    by: str

    def means(self, feed_id: str, digest: str) -> bool:
        """Whether this feed is the one."""
        return self.feed == feed_id or (len(self.feed) >= SHORTEST_DIGEST and digest.startswith(self.feed))

    def accepts_alone(self, feed: Feed) -> str:
        """Who accepts the one feed that was given; `InputError` when the answer is of another feed, or is no."""
        if not self.accepts:
            raise InputError(
                f"Only a feed of the inbox can be refused; {feed.folder} is taken in by nobody but you. Leave out the folder, or --refuse."
            )
        if not self.means(feed.feed_id, feed.digest):
            raise InputError(
                f"The feed in {feed.folder} is {feed.feed_id}, digest {feed.digest}, not {self.feed!r}. Give one of these after --accept."
            )
        return self.by


def answer_of(accept: str | None, refuse: str | None, by: str | None) -> Answer | None:
    """The answer that the command line gives, if it gives one."""
    if accept and refuse:
        raise InputError("A feed is either accepted or refused: give one of --accept and --refuse.")
    named = accept or refuse
    return Answer(named, accepts=bool(accept), by=by or getpass.getuser()) if named else None
