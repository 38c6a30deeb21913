"""Why Spark did not read a feed: for what it holds, or because its file is not seen, or its storage away."""

from __future__ import annotations

import re

from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.foundation.errors import ConfigurationError, InputError, RecsimError, UnavailableError
from recsim_tasks.foundation.outages import diagnose

# Spark's words for a file that it cannot make sense of; a feed's own name may hold them as well, in lower case or without the bracket.
UNREADABLE = re.compile(r"\[(FAILED_READ_FILE|CANNOT_READ_FILE|[A-Z_]*PARQUET|MALFORMED)[A-Z_.]*\]")
# The same when it does not see the file at all. Python's workers say it in Python's words.
UNSEEN = re.compile(
    r"FILE_NOT_EXIST|FileNotFoundException|FileNotFoundError|NoSuchFileException|PATH_NOT_FOUND"
)


def unread(error: Exception, feed: Feed) -> RecsimError | None:
    """Why Spark did not read the feed; `InputError`, which moves the feed aside, only when its content is the reason."""
    text = str(error)
    if known := diagnose(error, str(feed.source)):
        return known
    if UNSEEN.search(text):
        return unseen(feed)
    if not UNREADABLE.search(text):
        return None
    reason = next(line for line in text.splitlines() if UNREADABLE.search(line))
    return InputError(
        f"{feed.source} cannot be read as {feed.kind}: {reason} Correct it and deliver the feed again."
    )


def unseen(feed: Feed) -> RecsimError:
    """What to do when executors do not find a feed that the driver has opened."""
    if not feed.source.exists():
        return UnavailableError(
            f"{feed.source} went away while it was read. The feed is not refused: bring its storage back, or deliver it again, then run this job again."
        )
    return ConfigurationError(
        f"The Spark executors do not see the inbox: {feed.source} lies on the driver's machine, and not on theirs. The feed is not refused. "
        "Mount the inbox on every worker under the same path, or run ingest on a local master (RECSIM_SPARK_MASTER)."
    )
