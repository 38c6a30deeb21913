from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import BaseEventTrigger, BaseTrigger

from recsim_airflow import triggers
from recsim_airflow.triggers import DeltaCommitTrigger, FeedManifestTrigger, announcement_due, marked_feeds

pytestmark = pytest.mark.airflow


class FakeStore:
    """An asset's state store that lives in memory."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.broken = False

    async def aget(self, key: str, default: Any = None) -> Any:
        if self.broken:
            raise ConnectionError("the API server is away")
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.loads(json.dumps(value))


@pytest.fixture(autouse=True)
def _store_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "STORING_SECONDS", 0.0)


def watcher(inbox: Path, store: FakeStore, reannounce_after: float = 3600) -> FeedManifestTrigger:
    trigger = FeedManifestTrigger(asset_name="inbox", inbox=str(inbox), poll_interval=0.02, reannounce_after=reannounce_after)
    trigger.asset_state_store = store  # type: ignore[assignment]
    return trigger


def land(inbox: Path, name: str, close: bool = True) -> Path:
    feed = inbox / name
    feed.mkdir(parents=True)
    if close:
        (feed / "manifest.json").write_text("{}")
    return feed


async def events(trigger: BaseTrigger, seconds: float = 0.5) -> list[Any]:
    """What the trigger says within `seconds`."""
    heard = []

    async def listen() -> None:
        async for event in trigger.run():
            heard.append(event.payload)  # noqa: PERF401

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listen(), seconds)
    return heard


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


@pytest.mark.parametrize(
    "trigger",
    [
        DeltaCommitTrigger(table_uri="s3a://lake/products", min_version=3, poll_interval=5.0),
        FeedManifestTrigger(asset_name="inbox", inbox="/inbox", poll_interval=2.0, reannounce_after=60.0),
    ],
)
def test_a_trigger_survives_being_stored(trigger: BaseTrigger) -> None:
    from airflow.sdk.module_loading import import_string

    path, kwargs = trigger.serialize()
    again = import_string(path)(**json.loads(json.dumps(kwargs)))
    assert type(again) is type(trigger)
    assert again.serialize() == (path, kwargs)


def test_only_the_watcher_may_watch_an_asset() -> None:
    assert issubclass(FeedManifestTrigger, BaseEventTrigger)
    assert not issubclass(DeltaCommitTrigger, BaseEventTrigger)


def test_a_closed_feed_is_announced_once(tmp_path: Path) -> None:
    land(tmp_path, "feed-1")
    assert run(events(watcher(tmp_path, FakeStore()))) == [{"inbox": str(tmp_path), "feeds": ["feed-1"]}]


def test_open_and_hidden_feeds_and_an_absent_inbox_are_not_announced(tmp_path: Path) -> None:
    land(tmp_path / "inbox", "open", close=False)
    land(tmp_path / "inbox", ".being-written")
    assert run(events(watcher(tmp_path / "inbox", FakeStore()))) == []
    assert run(events(watcher(tmp_path / "nowhere", FakeStore()))) == []


def test_a_restarted_watcher_goes_on_from_its_cursor(tmp_path: Path) -> None:
    store = FakeStore()
    land(tmp_path, "feed-1")
    assert len(run(events(watcher(tmp_path, store)))) == 1
    assert run(events(watcher(tmp_path, store))) == []
    land(tmp_path, "feed-2")
    assert run(events(watcher(tmp_path, store))) == [{"inbox": str(tmp_path), "feeds": ["feed-1", "feed-2"]}]


def test_a_feed_delivered_again_under_its_name_is_announced_again(tmp_path: Path) -> None:
    store = FakeStore()
    feed = land(tmp_path, "feed-1")
    assert len(run(events(watcher(tmp_path, store)))) == 1
    shutil.move(feed, tmp_path / ".applied")
    land(tmp_path, "feed-1")
    assert len(run(events(watcher(tmp_path, store)))) == 1


def test_a_feed_that_stays_is_announced_again_after_a_while(tmp_path: Path) -> None:
    land(tmp_path, "feed-1")
    assert len(run(events(watcher(tmp_path, FakeStore(), reannounce_after=0.2)))) >= 2


def test_a_watcher_outwaits_faults_and_never_raises(tmp_path: Path) -> None:
    store = FakeStore()
    store.broken = True
    land(tmp_path, "feed-1")

    async def scenario() -> list[Any]:
        async def mend() -> None:
            await asyncio.sleep(0.3)
            store.broken = False

        _, heard = await asyncio.gather(mend(), events(watcher(tmp_path, store), 2))
        return heard

    assert len(run(scenario())) == 1


@pytest.mark.parametrize(
    ("feeds", "announced", "due"),
    [
        ({}, {}, False),
        ({"a": "1"}, {}, True),
        ({"a": "1"}, {"feeds": {"a": "1"}, "at": 990}, False),
        ({"a": "2"}, {"feeds": {"a": "1"}, "at": 990}, True),
        ({"a": "1", "b": "1"}, {"feeds": {"a": "1"}, "at": 990}, True),
        ({"b": "1"}, {"feeds": {"a": "1", "b": "1"}, "at": 990}, False),
        ({"a": "1"}, {"feeds": {"a": "1"}, "at": 800}, True),
        ({}, {"feeds": {"a": "1"}, "at": 800}, False),
    ],
)
def test_an_announcement_is_due_for_what_is_new_or_still_there(feeds: dict[str, str], announced: dict[str, Any], due: bool) -> None:
    assert announcement_due(feeds, announced, now=1000, reannounce_after=100) is due


def test_a_mark_changes_with_the_manifest(tmp_path: Path) -> None:
    feed = land(tmp_path, "feed-1")
    before = marked_feeds(tmp_path)
    assert before == marked_feeds(tmp_path)
    (feed / "manifest.json").unlink()
    (tmp_path / "filler").write_text("takes the freed inode")
    (feed / "manifest.json").write_text("{}")
    assert marked_feeds(tmp_path) != before


def test_the_commit_trigger_waits_for_the_table_and_the_version(tmp_path: Path) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    uri, rows = str(tmp_path / "products"), pa.table({"product_id": ["a"]})
    trigger = DeltaCommitTrigger(table_uri=uri, min_version=1, poll_interval=0.02)

    async def scenario() -> Any:
        waiting = asyncio.ensure_future(anext(trigger.run()))  # type: ignore[arg-type]
        for _ in range(2):
            await asyncio.sleep(0.2)
            assert not waiting.done()
            write_deltalake(uri, rows, mode="append", configuration={"delta.enableChangeDataFeed": "true"})
        return (await asyncio.wait_for(waiting, 5)).payload

    seen = run(scenario())
    assert (seen["version"], seen["change_feed"]) == (1, True)


def test_the_commit_trigger_does_not_wait_for_a_table_without_change_feed(tmp_path: Path) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    write_deltalake(str(tmp_path), pa.table({"product_id": ["a"]}))
    trigger = DeltaCommitTrigger(table_uri=str(tmp_path), min_version=5, poll_interval=0.02)
    event = run(asyncio.wait_for(anext(trigger.run()), 5))  # type: ignore[arg-type]
    assert event.payload["change_feed"] is False
