from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from plugins.writers import land
from recsim_airflow import announcements
from recsim_airflow.announcements import FeedAnnouncement, announcement_due, closed_feed_marks, repeat_after


@pytest.mark.parametrize(
    ("feeds", "feeds_announced", "seconds_ago", "refresh_started", "due"),
    [
        ({}, {}, 0, False, False),
        ({"a": "1"}, {}, 0, False, True),
        ({"a": "1"}, {"a": "1"}, 10, False, False),
        ({"a": "2"}, {"a": "1"}, 10, False, True),
        ({"a": "2"}, {"a": "1"}, 10, True, True),
        ({"a": "1", "b": "1"}, {"a": "1"}, 10, False, True),
        ({"b": "1"}, {"a": "1", "b": "1"}, 10, False, False),
        ({"a": "1"}, {"a": "1"}, 200, False, True),
        ({"a": "1"}, {"a": "1"}, 200, True, False),
        ({"a": "1"}, {"a": "1"}, 4000, True, True),
        ({}, {"a": "1"}, 200, False, False),
    ],
)
def test_an_announcement_is_due_for_a_new_feed_or_when_no_refresh_started_or_much_later(
    feeds: dict[str, str],
    feeds_announced: dict[str, str],
    seconds_ago: float,
    refresh_started: bool,
    due: bool,
) -> None:
    announced: FeedAnnouncement = {"feeds": feeds_announced, "at": 10_000 - seconds_ago, "again_after": 100}
    started = announced["at"] + 5 if refresh_started else 1
    assert announcement_due(feeds, announced, started, now=10_000, longest=3600) is due


def test_a_feed_that_stays_is_announced_less_and_less_often_until_a_new_one_lands() -> None:
    announced: FeedAnnouncement = {}
    waits = []
    for feeds in [{"a": "1"}] * 9 + [{"a": "1", "b": "1"}] * 2:
        announced = {
            "feeds": feeds,
            "again_after": repeat_after(feeds, announced, longest=3600),
        }
        waits.append(announced["again_after"])
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 60, 120]


def test_a_mark_changes_with_the_manifest(tmp_path: Path) -> None:
    feed = land(tmp_path, "feed-1")
    before = closed_feed_marks(tmp_path)
    assert before == closed_feed_marks(tmp_path)
    (feed / "manifest.json").unlink()
    (tmp_path / "filler").write_text("takes the freed inode")
    (feed / "manifest.json").write_text("{}")
    assert closed_feed_marks(tmp_path) != before


def test_a_feed_that_disappears_during_the_look_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(tmp_path, "feed-1")
    shutil.rmtree(land(tmp_path, "feed-2"))
    monkeypatch.setattr(announcements, "closed_feeds", lambda inbox: [inbox / "feed-2", inbox / "feed-1"])
    assert list(closed_feed_marks(tmp_path)) == ["feed-1"]
