from __future__ import annotations

import json
from pathlib import Path

import pytest
from upath import UPath

from recsim_tasks.catalogue.feeds import listing
from recsim_tasks.catalogue.feeds.feed import open_feed
from recsim_tasks.catalogue.feeds.listing import closed_feeds, stray_entries
from recsim_tasks.catalogue.feeds.transfer import (
    APPLIED,
    REFUSED,
    RefusalNote,
    local_copy,
    move_aside,
    read_notes,
)
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings


@pytest.fixture(params=["folder", "object store"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> Path | UPath:
    where = tmp_path / "inbox" if request.param == "folder" else request.getfixturevalue("bucket") / "inbox"
    for name in ("a", "b"):
        (where / name).mkdir(parents=True, exist_ok=True)
        (where / name / "products.csv").write_text("product_id\nx\n")
        (where / name / "manifest.json").write_text(json.dumps({"feed_id": name, "rows": 1}))
    return where


def test_a_feed_of_an_object_store_is_copied_to_this_machine(settings: Settings, inbox: Path | UPath) -> None:
    first, _ = closed_feeds(inbox)  # type: ignore[arg-type]
    with local_copy(settings, first) as here:
        assert open_feed(here).source.read_text() == "product_id\nx\n"
    assert here.exists() is (here == first), "a copy lasts as long as it is used"


def test_a_feed_that_was_moved_aside_is_no_longer_listed(inbox: Path | UPath) -> None:
    first, second = closed_feeds(inbox)  # type: ignore[arg-type]
    move_aside(first, APPLIED)
    move_aside(second, REFUSED, RefusalNote(reason="bad"))
    assert closed_feeds(inbox) == []  # type: ignore[arg-type]
    assert read_notes(inbox, REFUSED) == [RefusalNote(reason="bad")]
    assert read_notes(inbox, APPLIED) == []
    (applied,) = (inbox / APPLIED).iterdir()
    assert (applied / "products.csv").read_text() == "product_id\nx\n"


@pytest.mark.parametrize("name", ["f" * 250, "Monday: 1", "b" + "ü" * 120])
def test_a_feed_of_any_name_can_be_moved_aside(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    move_aside(tmp_path / name, REFUSED, RefusalNote(reason="bad"))
    assert read_notes(tmp_path, REFUSED) == [RefusalNote(reason="bad")]
    assert [path.name for path in tmp_path.iterdir()] == [REFUSED]


def test_a_note_is_never_written_through_a_link_or_over_another_file(tmp_path: Path) -> None:
    outside, inbox = tmp_path / "outside", tmp_path / "inbox"
    outside.mkdir()
    inbox.mkdir()
    (inbox / "link").symlink_to(outside)
    (inbox / "taken" / "note.json").mkdir(parents=True)
    for name in ("link", "taken"):
        move_aside(inbox / name, REFUSED, RefusalNote(reason=name))
    assert sorted(note.reason for note in read_notes(inbox, REFUSED)) == ["link", "taken"]
    assert list(outside.iterdir()) == []


def test_an_unreadable_note_hides_no_other(tmp_path: Path) -> None:
    for name, text in {
        "cut": '{"feed',
        "list": "[1]",
        "deep": "[" * 100_000,
        "good": '{"feed_id": "a"}',
    }.items():
        (tmp_path / REFUSED / name).mkdir(parents=True)
        (tmp_path / REFUSED / name / "note.json").write_text(text)
    (tmp_path / REFUSED / "folder" / "note.json").mkdir(parents=True)
    assert read_notes(tmp_path, REFUSED) == [RefusalNote(feed_id="a")]


def test_in_an_object_store_a_bad_feed_stops_no_other(
    settings: Settings, bucket: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, fs = bucket / "inbox", bucket.fs
    good = json.dumps({"feed_id": "good", "rows": 1}).encode()
    objects = {
        "good/": b"",
        "good/products.csv": b"product_id\nx\n",
        "good/manifest.json": good,
        "folder/manifest.json/part": b"x",
        "folder/products.csv": b"product_id\nx\n",
        "away/../../evil": b"x",
        "away/manifest.json": good,
        "open/products.csv": b"product_id\nx\n",
        "loose.csv": b"x",
    }
    for name, content in objects.items():
        fs.call_s3("put_object", Bucket="lake", Key=f"inbox/{name}", Body=content)
    fs.call_s3("put_object", Bucket="lake", Key="inbox/", Body=b"")
    fs.invalidate_cache()
    feeds = {feed.name: feed for feed in closed_feeds(inbox)}  # type: ignore[arg-type]
    assert {"good", "folder", "away"} <= feeds.keys()
    with local_copy(settings, feeds["good"]) as here:
        assert open_feed(here).feed_id == "good"
    with pytest.raises(InputError, match="is a folder"), local_copy(settings, feeds["folder"]) as here:
        open_feed(here)
    with pytest.raises(InputError, match="leads out"), local_copy(settings, feeds["away"]):
        pass
    assert not list(settings.home.rglob("evil"))
    assert [stray.name for stray in stray_entries(inbox)] == ["loose.csv"]  # type: ignore[arg-type]
    monkeypatch.setattr(listing, "STILL_SECONDS", -3600.0)
    assert {stray.name for stray in stray_entries(inbox)} == {"loose.csv", "open"}  # type: ignore[arg-type]
    move_aside(feeds["folder"], REFUSED, RefusalNote(reason="bad"))
    assert "folder" not in {feed.name for feed in closed_feeds(inbox)}  # type: ignore[arg-type]
