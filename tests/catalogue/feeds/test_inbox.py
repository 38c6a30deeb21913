"""One bad thing in the inbox stops itself and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, write_deltalake

from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import FeedRow, deliver, upsert
from recsim_tasks.catalogue.feeds import inbox as inbox_module
from recsim_tasks.catalogue.feeds.decisions import FeedDecision
from recsim_tasks.catalogue.feeds.inbox import ingest_inbox
from recsim_tasks.catalogue.feeds.ingest import IngestRequest
from recsim_tasks.catalogue.feeds.quarantine import quarantined
from recsim_tasks.catalogue.feeds.transfer import move_aside
from recsim_tasks.contracts import IngestResult
from recsim_tasks.foundation.errors import InputError, OnHoldError, RecsimError
from recsim_tasks.foundation.settings import Settings

LONG_AGO = (1_700_000_000, 1_700_000_000)
Rows = list[FeedRow]


@pytest.fixture
def rows(fashion_mnist: FashionMnist) -> Rows:
    return [upsert(n, f"c{n % 2}", fashion_mnist.train_images[n]) for n in range(30)]


def bad(inbox: Path, name: str) -> Path:
    """A feed without its manifest."""
    feed = inbox / name
    feed.mkdir(parents=True)
    (feed / "products.csv").write_text("product_id\nx\n")
    return feed / "manifest.json"


def fill_with_faults(inbox: Path) -> set[str]:
    """Add entries that are not feeds, and feeds that cannot be opened; returns the names of the latter."""
    bad(inbox, "folder").mkdir()
    os.mkfifo(bad(inbox, "pipe"))
    bad(inbox, "nested").write_text("[" * 100_000)
    bad(inbox, "dangling").symlink_to("nothing")
    bad(inbox, "two\nlines").write_text('{"feed_id": "lines", "rows": 1}')
    outside = inbox.parent / "outside"
    bad(inbox.parent, "outside").write_text('{"feed_id": "outside", "rows": 1}')
    (inbox / "linked").symlink_to(outside)
    bad(inbox, "rows-elsewhere").write_text('{"feed_id": "rows", "rows": 1}')
    (inbox / "rows-elsewhere" / "products.csv").unlink()
    (inbox / "rows-elsewhere" / "products.csv").symlink_to(outside / "products.csv")
    (inbox / "loose.csv").write_text("product_id\n")
    for path in [*inbox.rglob("*"), *outside.iterdir()]:
        os.utime(path, LONG_AGO, follow_symlinks=False)
    return {"folder", "pipe", "nested", "dangling", "two\nlines", "linked", "rows-elsewhere"}


@pytest.mark.spark
@pytest.mark.usefixtures("shared_spark")
def test_bad_entries_of_the_inbox_are_refused_or_listed_and_the_good_feed_is_applied(
    settings: Settings, rows: Rows
) -> None:
    inbox = settings.inbox_dir
    refused = fill_with_faults(inbox)
    deliver(inbox, "good", rows[:2], "good")
    with pytest.raises(InputError, match="Other feeds applied: 1") as error:
        ingest_inbox(settings)
    assert "\n" not in str(error.value)
    assert len(list((inbox / ".applied").iterdir())) == 1
    moved = [path for path in (inbox / ".refused").iterdir() if not path.name.endswith(".note.json")]
    assert len(moved) == len(refused)
    reasons = [json.loads(path.read_text())["reason"] for path in (inbox / ".refused").rglob("*note.json")]
    assert len(reasons) == len(refused)
    assert any("symbolic link" in reason for reason in reasons)
    assert {path.name for path in (inbox.parent / "outside").iterdir()} == {
        "manifest.json",
        "products.csv",
    }, "nothing is written through a link"

    again = ingest_inbox(settings)
    assert [stray.name for stray in again.ignored] == ["loose.csv"]
    assert (again.feeds, again.summary) == (
        [],
        "no feed in the inbox; not a feed, ignored: loose.csv is a file; a feed is a folder with "
        "manifest.json",
    )


@pytest.mark.spark
@pytest.mark.usefixtures("shared_spark")
def test_a_feed_that_cannot_be_moved_stops_no_other_and_is_applied_once(
    settings: Settings, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("first", "second")):
        feed = deliver(settings.inbox_dir, name, rows[number : number + 1], name)
        os.utime(feed / "manifest.json", (number, number))

    def fail(feed: Path, *args: Any) -> None:
        if feed.name == "first":
            raise OSError(18, "Invalid cross-device link")
        move_aside(feed, *args)

    monkeypatch.setattr(inbox_module, "move_aside", fail)
    with pytest.raises(
        RecsimError,
        match=r"first cannot be moved to \.applied: Invalid cross-device link.*Feeds applied: 2",
    ):
        ingest_inbox(settings)
    monkeypatch.undo()
    (settings.inbox_dir / ".applied").rename(settings.inbox_dir / "kept")
    (settings.inbox_dir / ".applied").touch()
    with pytest.raises(RecsimError, match=r"first cannot be moved to \.applied"):
        ingest_inbox(settings)
    (settings.inbox_dir / ".applied").unlink()
    (settings.inbox_dir / "kept").rename(settings.inbox_dir / ".applied")
    assert ingest_inbox(settings).feeds[0].applied is False


@pytest.mark.spark
@pytest.mark.usefixtures("shared_spark")
def test_a_feed_on_hold_states_why_its_rows_are_invalid_until_a_decision(
    settings: Settings, rows: Rows
) -> None:
    broken: Rows = [{**row, "image": b"no image"} for row in rows[:20]]
    faulty: Rows = [
        *broken,
        {**rows[20], "product_id": None},  # type: ignore[typeddict-item]
        *rows[21:25],
    ]
    deliver(settings.inbox_dir, "night", faulty, "night")
    with pytest.raises(OnHoldError, match=r"20 rows: .*does not decode") as caught:
        ingest_inbox(settings)
    on_hold = IngestResult.model_validate(caught.value.result).on_hold
    assert on_hold is not None
    first, second = on_hold.row_reasons
    assert (first.rows, second.rows) == (20, 1)
    assert first.example.startswith("fashion-000")
    assert "a row without product_id" in second.example
    (record,) = quarantined(settings, feed_id="night").on_hold
    assert record.row_reasons == [first, second]
    assert quarantined(settings, feed_id="other").on_hold == []
    ingest_inbox(settings, IngestRequest(decision=FeedDecision(feed="night", accepts=False, by="ada")))
    assert quarantined(settings, feed_id="night").on_hold == []


def test_commits_of_other_writers_do_not_carry_out_a_decision(settings: Settings) -> None:
    metadata = CommitProperties(custom_metadata={"userMetadata": '{"feed_id": 7, "digest": null}'})
    write_deltalake(settings.products_uri, pa.table({"product_id": ["a"]}), commit_properties=metadata)
    with pytest.raises(InputError, match=r"No feed of the inbox .* matches 'night-feed'"):
        ingest_inbox(
            settings, IngestRequest(decision=FeedDecision(feed="night-feed", accepts=True, by="ada"))
        )
