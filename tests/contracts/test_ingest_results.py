from __future__ import annotations

import pytest

from recsim_tasks.contracts import FeedOnHold, IngestResult, QuarantineResult, RowReason, StrayEntry

HELD = FeedOnHold(feed_id="b", digest="0", folder="/inbox/b", figures=[], row_reasons=[])


@pytest.mark.parametrize(
    ("result", "summary"),
    [
        (IngestResult(feed_id=None, applied=False, table_version=None), "no feed in the inbox"),
        (
            IngestResult(feed_id="a", applied=False, table_version=3),
            "a was applied before, nothing has changed",
        ),
        (
            IngestResult(feed_id="a", applied=True, table_version=4, inserted=1_000, quarantined=50),
            "a: 1,000 inserted, 0 updated, 0 deleted, 0 unchanged, 0 outdated, 50 quarantined (4.8%); "
            "catalogue at version 4",
        ),
        (
            IngestResult(
                feed_id=None, applied=False, table_version=4, on_hold=HELD, reasons=["Too much goes."]
            ),
            "b is on hold: Too much goes.",
        ),
        (
            IngestResult(
                feed_id=None,
                applied=False,
                table_version=None,
                ignored=[StrayEntry(name="notes.txt", reason="is a file")],
            ),
            "no feed in the inbox; not a feed, ignored: notes.txt is a file",
        ),
    ],
)
def test_the_summary_of_an_ingest(result: IngestResult, summary: str) -> None:
    assert result.summary == summary


def test_the_share_of_invalid_rows_is_zero_without_rows() -> None:
    assert IngestResult(feed_id=None, applied=False, table_version=None).quarantined_share == 0


def test_a_reason_is_a_line_with_its_example() -> None:
    reason = RowReason(reason="the price … is negative", rows=1_200, example="p1: the price -3 is negative")
    assert reason.sentence == "1,200 rows: the price … is negative (p1: the price -3 is negative)"


def test_the_summary_of_the_quarantine() -> None:
    result = QuarantineResult(rows=2, by_reason={"no image": 2}, newest=[], on_hold=[])
    assert result.summary == "2 rows in quarantine, 0 feeds on hold"
