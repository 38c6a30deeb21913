from __future__ import annotations

import json
from pathlib import Path

import pytest
from upath import UPath

from recsim_tasks.catalogue.feeds import listing
from recsim_tasks.catalogue.feeds.feed import open_feed
from recsim_tasks.catalogue.feeds.listing import closed_feeds, strays
from recsim_tasks.catalogue.feeds.transfer import APPLIED, REFUSED, at_hand, move_aside, notes
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


def test_a_feed_is_read_on_this_machine_wherever_it_lies(settings: Settings, inbox: Path | UPath) -> None:
    first, _ = closed_feeds(inbox)  # type: ignore[arg-type]
    with at_hand(settings, first) as here:
        assert open_feed(here).source.read_text() == "product_id\nx\n"
        copied = here if not isinstance(first, Path) else None
    assert copied is None or not copied.exists()


def test_a_feed_that_was_moved_aside_is_no_feed_of_the_inbox_any_more(inbox: Path | UPath) -> None:
    first, second = closed_feeds(inbox)  # type: ignore[arg-type]
    move_aside(first, APPLIED)
    move_aside(second, REFUSED, {"reason": "bad"})
    assert closed_feeds(inbox) == []  # type: ignore[arg-type]
    assert notes(inbox, REFUSED) == [{"reason": "bad"}]
    assert notes(inbox, APPLIED) == []
    (applied,) = (inbox / APPLIED).iterdir()
    assert (applied / "products.csv").read_text() == "product_id\nx\n"


@pytest.mark.parametrize("name", ["f" * 250, "Monday: 1", "b" + "ü" * 120])
def test_a_feed_of_any_name_can_be_moved_aside(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    move_aside(tmp_path / name, REFUSED, {"reason": "bad"})
    assert notes(tmp_path, REFUSED) == [{"reason": "bad"}]
    assert [path.name for path in tmp_path.iterdir()] == [REFUSED]


def test_a_note_is_written_beside_what_cannot_hold_it_and_never_behind_a_link(tmp_path: Path) -> None:
    outside, inbox = tmp_path / "outside", tmp_path / "inbox"
    outside.mkdir()
    inbox.mkdir()
    (inbox / "link").symlink_to(outside)
    (inbox / "taken" / "note.json").mkdir(parents=True)
    for name in ("link", "taken"):
        move_aside(inbox / name, REFUSED, {"reason": name})
    assert sorted(note["reason"] for note in notes(inbox, REFUSED)) == ["link", "taken"]
    assert list(outside.iterdir()) == []


def test_a_note_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    for name, text in {
        "cut": '{"feed',
        "list": "[1]",
        "deep": "[" * 100_000,
        "good": '{"feed_id": "a"}',
    }.items():
        (tmp_path / REFUSED / name).mkdir(parents=True)
        (tmp_path / REFUSED / name / "note.json").write_text(text)
    (tmp_path / REFUSED / "folder" / "note.json").mkdir(parents=True)
    assert notes(tmp_path, REFUSED) == [{"feed_id": "a"}]


def test_in_an_object_store_what_is_odd_in_one_feed_stops_no_other(
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
    with at_hand(settings, feeds["good"]) as here:
        assert open_feed(here).feed_id == "good"
    with pytest.raises(InputError, match="is a folder"), at_hand(settings, feeds["folder"]) as here:
        open_feed(here)
    with pytest.raises(InputError, match="leads out"), at_hand(settings, feeds["away"]):
        pass
    assert not list(settings.home.rglob("evil"))
    assert [stray.name for stray in strays(inbox)] == ["loose.csv"]  # type: ignore[arg-type]
    monkeypatch.setattr(listing, "STILL_SECONDS", -3600.0)
    assert {stray.name for stray in strays(inbox)} == {"loose.csv", "open"}  # type: ignore[arg-type]
    move_aside(feeds["folder"], REFUSED, {"reason": "bad"})
    assert "folder" not in {feed.name for feed in closed_feeds(inbox)}  # type: ignore[arg-type]
