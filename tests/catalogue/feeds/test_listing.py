from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recsim_tasks.catalogue.feeds import feed_manifest
from recsim_tasks.catalogue.feeds.feed import open_feed
from recsim_tasks.catalogue.feeds.listing import closed_feeds, mark_of, stray_entries
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.reading import read_small

GOOD = json.dumps({"feed_id": "good", "rows": 1}).encode()
LONG_AGO = (1_700_000_000, 1_700_000_000)
Make = Callable[[Path], object]


def land(folder: Path, text: bytes | None = GOOD, rows: bool = True) -> Path:
    folder.mkdir(parents=True)
    if rows:
        (folder / "products.csv").write_text("product_id\nx\n")
    if text is not None:
        (folder / "manifest.json").write_bytes(text)
    return folder


def age(inbox: Path) -> None:
    """Make everything in the inbox look unchanged for a long time."""
    for path in [*inbox.rglob("*"), inbox]:
        os.utime(path, LONG_AGO, follow_symlinks=False)


def bind(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"/proc/self/fd/{here}/{path.name}")
    server.close()
    os.close(here)


def as_link_inside(path: Path) -> None:
    path.with_name("written.json").write_bytes(GOOD)
    path.symlink_to("written.json")


def as_link_to_rows(path: Path) -> None:
    path.with_name("rows.txt").write_text("product_id\nx\n")
    path.symlink_to("rows.txt")


def as_link_outside(path: Path) -> None:
    outside = path.parents[2] / "outside.json"
    outside.write_bytes(GOOD)
    path.symlink_to(outside)


def strays(inbox: Path) -> dict[str, str]:
    return {entry.name: entry.reason for entry in stray_entries(inbox)}


# What may be in the place of a manifest, and the reason for it.
FAULTS: dict[str, tuple[Make, str]] = {
    "a folder": (lambda path: path.mkdir(), "is a folder, not a file"),
    "a pipe": (os.mkfifo, "is a pipe, not a file"),
    "a socket": (bind, "cannot be read"),
    "a link outside": (as_link_outside, "leads out of the feed or nowhere"),
    "a dangling link": (lambda path: path.symlink_to("nothing"), "leads out of the feed or nowhere"),
    "a loop of links": (lambda path: path.symlink_to(path.name), "leads out of the feed or nowhere"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "leads out of the feed or nowhere"),
    "deeply nested": (lambda path: path.write_bytes(b"[" * 100_000), "nested too deeply"),
    "deep objects": (lambda path: path.write_bytes(b'{"a":' * 100_000), "nested too deeply"),
    "huge": (lambda path: path.open("wb").truncate(100 << 20), "has 104,857,600 bytes"),
    "empty": (lambda path: path.touch(), "is not JSON"),
    "binary": (lambda path: path.write_bytes(os.urandom(999) + b"\xff\xfe\x00"), "is not JSON"),
    "a list": (lambda path: path.write_text("[1]"), "it contains a list, not an object"),
    "null": (lambda path: path.write_text("null"), "not an object"),
    "a name twice": (
        lambda path: path.write_text('{"feed_id": "a", "rows": 1, "rows": 2}'),
        "it contains rows twice",
    ),
    "a number of 5,000 digits": (
        lambda path: path.write_text('{"feed_id": "a", "rows": ' + "9" * 5000 + "}"),
        "is not JSON",
    ),
    "half a character": (
        lambda path: path.write_text('{"feed_id": "a", "rows": 1, "\\ud800": 1}'),
        "is not a valid manifest",
    ),
}


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


@pytest.mark.parametrize("fault", FAULTS)
def test_an_unreadable_manifest_refuses_its_feed_and_no_other(inbox: Path, fault: str) -> None:
    make, reason = FAULTS[fault]
    land(inbox / "good")
    make(land(inbox / "bad", None) / "manifest.json")
    age(inbox)
    assert {feed.name for feed in closed_feeds(inbox)} == {"good", "bad"}
    assert mark_of(inbox / "bad") == mark_of(inbox / "bad") != mark_of(inbox / "good")
    with pytest.raises(InputError, match=reason):
        open_feed(inbox / "bad")
    assert open_feed(inbox / "good").feed_id == "good"


@pytest.mark.parametrize(
    "fault", ["a folder", "a pipe", "a dangling link", "deeply nested", "huge", "empty", "a list"]
)
def test_a_feed_is_not_closed_while_its_manifest_is_being_written(inbox: Path, fault: str) -> None:
    FAULTS[fault][0](land(inbox / "bad", None) / "manifest.json")
    assert closed_feeds(inbox) == []


@pytest.mark.parametrize(
    "written",
    [
        as_link_inside,
        lambda path: path.write_bytes(b"\xef\xbb\xbf" + GOOD),
        lambda path: path.write_bytes(GOOD.decode().encode("utf-16")),
    ],
)
def test_a_linked_manifest_or_one_with_a_byte_order_mark_is_read(inbox: Path, written: Make) -> None:
    written(land(inbox / "odd", None) / "manifest.json")
    assert closed_feeds(inbox) == [inbox / "odd"]
    assert open_feed(inbox / "odd").feed_id == "good"


def test_a_manifest_without_permission_stops_no_other_feed(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(inbox / "good")
    land(inbox / "bad")
    age(inbox)

    def refuse(path: Path, largest: int) -> bytes:
        if path.parent.name == "bad":
            raise PermissionError(13, "Permission denied", str(path))
        return read_small(path, largest)

    monkeypatch.setattr(feed_manifest, "read_small", refuse)
    assert len(closed_feeds(inbox)) == 2
    with pytest.raises(InputError, match="Permission denied"):
        open_feed(inbox / "bad")


@pytest.mark.parametrize("name", ["two\nlines", "bell\a", b"lone\xff".decode("utf-8", "surrogateescape")])
def test_a_folder_with_an_unprintable_name_is_refused_with_its_name_escaped(inbox: Path, name: str) -> None:
    land(inbox / name)
    (feed,) = closed_feeds(inbox)
    with pytest.raises(InputError, match="Rename it") as refused:
        open_feed(feed)
    str(refused.value).encode()
    assert "\n" not in str(refused.value)


def test_files_of_rows_must_be_regular_files_of_the_feed(inbox: Path) -> None:
    outside = inbox.parent / "outside.csv"
    inbox.mkdir()
    outside.write_text("product_id\nx\n")
    made: dict[str, Make] = {
        "pipe": os.mkfifo,
        "outside": lambda path: path.symlink_to(outside),
        "dangling": lambda path: path.symlink_to("nothing"),
        "inside": as_link_to_rows,
    }
    for name, make in made.items():
        make(land(inbox / name, rows=False) / "products.csv")
    (land(inbox / "parts", rows=False) / "products.parquet").mkdir()
    (inbox / "parts" / "products.parquet" / "part-0.parquet").symlink_to(outside)
    for name, reason in {
        "pipe": "is a pipe",
        "outside": "leads out",
        "dangling": "or nowhere",
        "parts": "leads out",
    }.items():
        with pytest.raises(InputError, match=reason):
            open_feed(inbox / name)
    assert open_feed(inbox / "inside").format == "csv"


def test_entries_that_are_not_feeds_are_listed_and_unfinished_folders_are_not(inbox: Path) -> None:
    inbox.mkdir()
    (inbox / "products.csv").write_text("product_id\n")
    os.mkfifo(inbox / "pipe")
    (inbox / "nowhere").symlink_to("nothing")
    (land(inbox / "capital", None) / "Manifest.json").write_bytes(GOOD)
    land(inbox / "open", None)
    land(inbox / "good")
    land(inbox / ".hidden", None)
    assert strays(inbox).keys() == {"products.csv", "pipe", "nowhere", "capital"}
    age(inbox)
    reasons = strays(inbox)
    assert reasons.keys() == {"products.csv", "pipe", "nowhere", "capital", "open"}
    assert "is a file" in reasons["products.csv"]
    assert "rename it" in reasons["capital"]
    os.utime(inbox / "open" / "products.csv", (time.time(),) * 2)
    assert "open" not in strays(inbox), "its rows are still being written"
