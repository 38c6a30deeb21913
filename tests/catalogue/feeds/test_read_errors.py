from __future__ import annotations

from pathlib import Path

import pytest

from recsim_demo.feeds import deliver, upsert
from recsim_tasks.catalogue.feeds.feed import open_feed
from recsim_tasks.catalogue.feeds.read_errors import explain_read_error, unseen_file_error
from recsim_tasks.foundation.errors import ConfigurationError, InputError, RecsimError, UnavailableError

NOT_PARQUET = (
    "Caused by: java.lang.RuntimeException: file:/in/products.parquet is not a Parquet file. "
    "Expected magic number at tail"
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "[FAILED_READ_FILE.FILE_NOT_EXIST] Encountered error while reading file "
            "file:///in/products.parquet.",
            ConfigurationError,
        ),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/in/1.png'", ConfigurationError),
        (
            "[FAILED_READ_FILE.NO_HINT] x\nCaused by: java.io.FileNotFoundException: /in/p (Permission "
            "denied)",
            ConfigurationError,
        ),
        (
            "[FAILED_READ_FILE.NO_HINT] x\nCaused by: java.io.IOException: No space left on device",
            UnavailableError,
        ),
        (
            "[FAILED_READ_FILE.NO_HINT] x\nCaused by: java.net.ConnectException: Connection refused",
            UnavailableError,
        ),
        (f"[FAILED_READ_FILE.NO_HINT] Encountered error while reading file\n{NOT_PARQUET}", InputError),
        ("Job aborted while reading /in/PARQUET/MALFORMED.parquet: ExecutorLostFailure", None),
    ],
)
def test_a_feed_is_refused_only_for_the_content_of_its_file(
    tmp_path: Path, text: str, kind: type[RecsimError] | None
) -> None:
    feed = open_feed(deliver(tmp_path, "one", [upsert(1, "c", None)], "one"))
    known = explain_read_error(Exception(text), feed)
    assert known is None if kind is None else type(known) is kind
    assert (
        kind is not ConfigurationError
        or "FileNotFound" not in text
        or "executors do not see" in str(known)
        or "may not use" in str(known)
    )


def test_a_file_that_disappeared_from_the_driver_is_an_outage(tmp_path: Path) -> None:
    feed = open_feed(deliver(tmp_path, "one", [upsert(1, "c", None)], "one"))
    assert isinstance(unseen_file_error(feed), ConfigurationError)
    feed.source.unlink()
    assert isinstance(unseen_file_error(feed), UnavailableError)
