"""Decides when an asset trigger announces the feeds of the inbox. Pure, apart from `closed_feed_marks`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from recsim_tasks.catalogue.feeds.listing import closed_feeds, mark_of
from recsim_tasks.foundation.text import one_line

# A paused DAG drops events. After this many seconds without a refresh the first repetition is due.
FIRST_REPEAT_SECONDS = 60.0

FeedMarks = dict[str, str]
"""Folder name to mark, in order of arrival; a folder that is delivered again has another mark."""


class FeedAnnouncement(TypedDict, total=False):
    """What the state store keeps of the last announcement; nothing before the first one."""

    feeds: FeedMarks
    at: float
    """Seconds since the epoch."""
    again_after: float
    """Seconds after which it is repeated if no refresh starts."""


def closed_feed_marks(inbox: Path) -> FeedMarks:
    """The closed feeds of `inbox`."""
    marks = {}
    for folder in closed_feeds(inbox):
        with suppress(FileNotFoundError):  # applied or withdrawn since the folders were listed
            marks[one_line(folder.name)] = mark_of(folder)  # a database takes no lone surrogates
    return marks


def announcement_due(
    feeds: FeedMarks, announced: FeedAnnouncement, refresh_started: float, *, now: float, longest: float
) -> bool:
    """Whether `feeds` has a new feed, or the announcement of the known ones is to be repeated.

    :param announced: the last announcement
    :param refresh_started: when the last refresh started, 0 if none did
    :param now: seconds since the epoch, like all times here
    :param longest: seconds after which an announcement is repeated although a refresh started after it
    """
    if not feeds or _has_new_feed(feeds, announced):
        return bool(feeds)
    at = announced["at"]
    return now - at > (longest if refresh_started > at else announced.get("again_after", longest))


def repeat_after(feeds: FeedMarks, announced: FeedAnnouncement, longest: float) -> float:
    """Seconds until `feeds` are announced again if no refresh starts: doubled at each repetition."""
    if _has_new_feed(feeds, announced):
        return min(longest, FIRST_REPEAT_SECONDS)
    return min(longest, 2 * float(announced.get("again_after", 0)))


def _has_new_feed(feeds: FeedMarks, announced: FeedAnnouncement) -> bool:
    known = announced.get("feeds", {})
    return any(known.get(name) != mark for name, mark in feeds.items())
