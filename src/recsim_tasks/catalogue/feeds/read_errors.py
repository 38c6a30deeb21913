"""Explain why Spark could not read a feed: bad content, an unseen file, or storage that is away."""

from __future__ import annotations

import re

from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.foundation.errors import ConfigurationError, InputError, RecsimError, UnavailableError
from recsim_tasks.foundation.outages import diagnose

# Spark's error classes for a file that it cannot parse. In brackets and upper case: a feed's name may contain
# the same words.
UNREADABLE = re.compile(r"\[(FAILED_READ_FILE|CANNOT_READ_FILE|[A-Z_]*PARQUET|MALFORMED)[A-Z_.]*\]")
# The same for a file that does not exist on an executor; Python workers raise Python's error.
FILE_NOT_FOUND = re.compile(
    r"FILE_NOT_EXIST|FileNotFoundException|FileNotFoundError|NoSuchFileException|PATH_NOT_FOUND"
)


def explain_read_error(error: Exception, feed: Feed) -> RecsimError | None:
    """Return the cause of Spark's error, or None if it is unknown.

    Only bad content is an `InputError`, which refuses the feed.
    """
    text = str(error)
    if known := diagnose(error, str(feed.source)):
        return known
    if FILE_NOT_FOUND.search(text):
        return unseen_file_error(feed)
    if not UNREADABLE.search(text):
        return None
    reason = next(line for line in text.splitlines() if UNREADABLE.search(line))
    return InputError(
        f"{feed.source} cannot be read as {feed.format}: {reason} Correct it and deliver the feed again."
    )


def unseen_file_error(feed: Feed) -> RecsimError:
    """Return the error when executors do not find a file that the driver has opened."""
    if not feed.source.exists():
        return UnavailableError(
            f"{feed.source} disappeared while it was read. The feed is not refused: bring its storage back, "
            "or deliver it again, then run this job again."
        )
    return ConfigurationError(
        f"The Spark executors do not see the inbox: {feed.source} exists on the driver's machine only. The "
        "feed is not refused. Mount the inbox on every worker under the same path, or run ingest on a local "
        "master (RECSIM_SPARK_MASTER)."
    )
