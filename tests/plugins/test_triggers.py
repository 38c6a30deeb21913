from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from airflow.triggers.base import BaseEventTrigger, BaseTrigger

from plugins.airflow_fakes import FakeStateStore
from plugins.writers import commit, land
from recsim_airflow import announcements, triggers
from recsim_airflow.announcements import closed_feed_marks
from recsim_airflow.triggers import (
    AssetTrigger,
    CatalogueCommitTrigger,
    DeltaChangeDataFeedTrigger,
    FeedManifestTrigger,
)

pytestmark = pytest.mark.airflow


def waiting(uri: Path, **more: Any) -> DeltaChangeDataFeedTrigger:
    kwargs: dict[str, Any] = {"min_version": None, "after": {}, "poll_interval": 0.02} | more
    return DeltaChangeDataFeedTrigger(table_uri=str(uri), **kwargs)


def event(trigger: BaseTrigger) -> Any:
    """The payload of the trigger's first event, within five seconds."""

    async def listen() -> Any:
        return (await asyncio.wait_for(anext(trigger.run()), 5)).payload

    return asyncio.run(listen())


@pytest.mark.parametrize(
    "trigger",
    [
        waiting(Path("lake"), min_version=3, after={"table_id": "id", "version": 2}, conn_id="lake"),
        FeedManifestTrigger(
            asset_name="inbox",
            inbox="s3://lake/inbox",
            poll_interval=2.0,
            reannounce_after=60.0,
            conn_id="lake",
        ),
        CatalogueCommitTrigger(asset_name="commits", table_uri="s3://lake/products", conn_id="lake"),
    ],
    ids=lambda trigger: type(trigger).__name__,
)
def test_a_serialized_trigger_can_be_built_again(trigger: BaseTrigger) -> None:
    path, kwargs = trigger.serialize()
    again = resolve_name(path)(**json.loads(json.dumps(kwargs)))
    assert type(again) is type(trigger)
    assert again.serialize() == (path, kwargs)


def test_only_asset_triggers_may_watch_an_asset() -> None:
    assert issubclass(FeedManifestTrigger, BaseEventTrigger)
    assert issubclass(CatalogueCommitTrigger, BaseEventTrigger)
    assert not issubclass(DeltaChangeDataFeedTrigger, BaseEventTrigger)


def test_the_trigger_waits_for_the_table_and_for_the_version(tmp_path: Path) -> None:
    uri = tmp_path / "products"

    async def scenario() -> Any:
        wait = asyncio.ensure_future(anext(waiting(uri, min_version=1).run()))
        for _ in range(2):
            await asyncio.sleep(0.2)
            assert not wait.done()
            await asyncio.to_thread(commit, uri)
        return (await asyncio.wait_for(wait, 5)).payload

    head = asyncio.run(scenario())["head"]
    assert (head["version"], head["change_feed"]) == (1, True)


def test_the_trigger_does_not_wait_for_a_table_without_change_feed(tmp_path: Path) -> None:
    commit(tmp_path, change_feed=False)
    assert event(waiting(tmp_path, min_version=5))["head"]["change_feed"] is False


def test_a_table_that_cannot_be_read_ends_the_wait_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / f"{0:020}.json").write_text("no JSON")
    assert "cannot be read" in event(waiting(tmp_path))["error"]


@pytest.fixture(autouse=True)
def _no_wait_after_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "EVENT_STORED_SECONDS", 0.0)


def with_store(trigger: AssetTrigger, store: FakeStateStore) -> AssetTrigger:
    trigger.asset_state_store = store  # type: ignore[assignment]
    return trigger


def of_inbox(
    inbox: Path | str, store: FakeStateStore, reannounce_after: float = 3600, **more: Any
) -> AssetTrigger:
    trigger = FeedManifestTrigger(
        asset_name="inbox", inbox=str(inbox), poll_interval=0.02, reannounce_after=reannounce_after, **more
    )
    return with_store(trigger, store)


def of_table(uri: Path, store: FakeStateStore, reannounce_after: float = 3600) -> AssetTrigger:
    trigger = CatalogueCommitTrigger(
        asset_name="commits", table_uri=str(uri), poll_interval=0.02, reannounce_after=reannounce_after
    )
    return with_store(trigger, store)


async def events(trigger: BaseTrigger, seconds: float = 0.5) -> list[Any]:
    """The payloads of the trigger's events within `seconds`."""
    payloads = []

    async def listen() -> None:
        async for event in trigger.run():
            payloads.append(event.payload)  # noqa: PERF401

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listen(), seconds)
    return payloads


def test_a_closed_feed_is_announced_once(tmp_path: Path) -> None:
    land(tmp_path, "feed-1")
    assert asyncio.run(events(of_inbox(tmp_path, FakeStateStore()))) == [
        {"inbox": str(tmp_path), "feeds": ["feed-1"]}
    ]


def test_open_and_hidden_feeds_and_an_absent_inbox_are_not_announced(tmp_path: Path) -> None:
    land(tmp_path / "inbox", "open", close=False)
    land(tmp_path / "inbox", ".being-written")
    assert asyncio.run(events(of_inbox(tmp_path / "inbox", FakeStateStore()))) == []
    assert asyncio.run(events(of_inbox(tmp_path / "nowhere", FakeStateStore()))) == []


def test_a_restarted_trigger_announces_only_what_waits(tmp_path: Path) -> None:
    store = FakeStateStore()
    feed = land(tmp_path, "feed-1")
    assert len(asyncio.run(events(of_inbox(tmp_path, store)))) == 1
    land(tmp_path, "feed-2")
    assert asyncio.run(events(of_inbox(tmp_path, store))) == [
        {"inbox": str(tmp_path), "feeds": ["feed-1", "feed-2"]}
    ]
    assert len(asyncio.run(events(of_inbox(tmp_path, store)))) == 1, (
        "its event may have been dropped while the DAG was paused"
    )
    shutil.rmtree(feed)
    shutil.rmtree(tmp_path / "feed-2")
    assert asyncio.run(events(of_inbox(tmp_path, store))) == []


def test_a_feed_delivered_again_under_its_name_is_announced_again(tmp_path: Path) -> None:
    store = FakeStateStore()
    feed = land(tmp_path, "feed-1")
    assert len(asyncio.run(events(of_inbox(tmp_path, store)))) == 1
    shutil.move(feed, tmp_path / ".applied")
    land(tmp_path, "feed-1")
    assert len(asyncio.run(events(of_inbox(tmp_path, store)))) == 1


def test_a_feed_that_stays_is_announced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "FIRST_REPEAT_SECONDS", 0.1)
    land(tmp_path, "feed-1")
    assert len(asyncio.run(events(of_inbox(tmp_path, FakeStateStore())))) >= 2


def test_a_trigger_survives_a_state_store_that_is_away(tmp_path: Path) -> None:
    store = FakeStateStore()
    store.broken = True
    land(tmp_path, "feed-1")

    async def scenario() -> Any:
        async def repair() -> None:
            await asyncio.sleep(0.3)
            store.broken = False

        _, payloads = await asyncio.gather(repair(), events(of_inbox(tmp_path, store), 2))
        return payloads

    assert len(asyncio.run(scenario())) == 1


def test_feeds_are_announced_in_order_of_arrival(tmp_path: Path) -> None:
    for name in ("z", "a", "m"):
        land(tmp_path, name)
        time.sleep(0.02)
    (payload,) = asyncio.run(events(of_inbox(tmp_path, FakeStateStore())))
    assert payload["feeds"] == ["z", "a", "m"]


def test_two_feeds_closed_in_the_same_instant_are_both_announced(tmp_path: Path) -> None:
    for name in ("b", "a"):
        os.utime(land(tmp_path, name) / "manifest.json", (1_700_000_000, 1_700_000_000))
    (payload,) = asyncio.run(events(of_inbox(tmp_path, FakeStateStore())))
    assert payload["feeds"] == ["a", "b"]


def test_a_half_written_manifest_is_announced_when_it_is_whole(tmp_path: Path) -> None:
    manifest = land(tmp_path, "feed-1", close=False) / "manifest.json"
    whole, store = json.dumps({"feed_id": "one", "rows": 3}), FakeStateStore()
    for end in range(len(whole)):
        manifest.write_text(whole[:end])
        assert closed_feed_marks(tmp_path) == {}
    assert asyncio.run(events(of_inbox(tmp_path, store), 0.2)) == []
    manifest.write_text(whole)
    assert len(asyncio.run(events(of_inbox(tmp_path, store)))) == 1


def test_an_inbox_that_cannot_be_read_is_announced_when_it_is_back(tmp_path: Path) -> None:
    inbox, moved = tmp_path / "inbox", tmp_path / "moved"
    land(moved, "feed-1")
    inbox.write_text("a file where the inbox should be")

    async def scenario() -> Any:
        async def repair() -> None:
            await asyncio.sleep(0.3)
            inbox.unlink()
            moved.rename(inbox)

        _, payloads = await asyncio.gather(repair(), events(of_inbox(inbox, FakeStateStore()), 2))
        return payloads

    assert asyncio.run(scenario()) == [{"inbox": str(inbox), "feeds": ["feed-1"]}]


def write(uri: Path, refresh: str | None = None) -> dict[str, Any]:
    """Commit to the table, for a refresh or as another writer; returns the head."""
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, write_deltalake

    properties = CommitProperties(custom_metadata={"userMetadata": json.dumps({"refresh": refresh})})
    write_deltalake(str(uri), pa.table({"product_id": ["a"]}), mode="append", commit_properties=properties)
    table = DeltaTable(str(uri))
    return {"table_id": str(table.metadata().id), "version": table.version()}


def test_a_commit_of_another_writer_is_announced_once(tmp_path: Path) -> None:
    store = FakeStateStore()
    assert asyncio.run(events(of_table(tmp_path, store), 0.2)) == []
    head = write(tmp_path)
    assert asyncio.run(events(of_table(tmp_path, store))) == [{"table_uri": str(tmp_path), **head}]
    assert len(asyncio.run(events(of_table(tmp_path, store)))) == 1, (
        "a restarted trigger announces what waits"
    )
    store["committed"] = head
    assert asyncio.run(events(of_table(tmp_path, store))) == []


def test_commits_of_refreshes_and_housekeeping_are_not_announced(tmp_path: Path) -> None:
    from deltalake import DeltaTable

    store = FakeStateStore()
    write(tmp_path, refresh="manual__1")
    write(tmp_path, refresh="manual__1")
    DeltaTable(str(tmp_path)).optimize.compact()
    assert asyncio.run(events(of_table(tmp_path, store))) == []
    assert store["announced"]["version"] == 2


def test_a_commit_that_the_release_reflects_is_not_announced(tmp_path: Path) -> None:
    store = FakeStateStore()
    store["committed"] = write(tmp_path)
    assert asyncio.run(events(of_table(tmp_path, store))) == []


def test_a_table_that_was_dropped_and_created_again_is_announced(tmp_path: Path) -> None:
    store = FakeStateStore()
    store["committed"] = store["announced"] = {
        "table_id": "the one before",
        "version": 9,
        "at": time.time(),
    }
    head = write(tmp_path)
    assert asyncio.run(events(of_table(tmp_path, store))) == [{"table_uri": str(tmp_path), **head}]


def test_a_catalogue_is_announced_again_only_while_the_release_is_behind(tmp_path: Path) -> None:
    head, store = write(tmp_path, refresh="manual__1"), FakeStateStore()
    assert len(asyncio.run(events(of_table(tmp_path, store, reannounce_after=0.1)))) >= 2
    store["committed"] = head
    assert asyncio.run(events(of_table(tmp_path, store, reannounce_after=0.1))) == []


def test_a_table_that_cannot_be_read_is_announced_when_it_can(tmp_path: Path) -> None:
    broken = tmp_path / "_delta_log" / f"{0:020}.json"
    broken.parent.mkdir()
    broken.write_text("no JSON")

    async def scenario() -> Any:
        async def repair() -> None:
            await asyncio.sleep(0.3)
            broken.unlink()
            await asyncio.to_thread(write, tmp_path)

        _, payloads = await asyncio.gather(repair(), events(of_table(tmp_path, FakeStateStore()), 3))
        return payloads

    assert len(asyncio.run(scenario())) == 1


def test_reading_a_thousand_commits_does_not_block_the_event_loop(tmp_path: Path) -> None:
    write(tmp_path)
    log = tmp_path / "_delta_log"
    line = {
        "commitInfo": {
            "timestamp": 1,
            "operation": "WRITE",
            "userMetadata": json.dumps({"feed_id": "f", "refresh": "r" * 40}),
        }
    }
    for version in range(1, 1_000):
        (log / f"{version:020}.json").write_text(json.dumps(line) + "\n")

    async def longest_lag() -> float:
        lags: list[float] = []
        look = asyncio.ensure_future(of_table(tmp_path, FakeStateStore()).look())
        while not look.done():
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            lags.append(time.perf_counter() - began - 0.001)
        assert (await look)[1]["version"] == 999  # type: ignore[index]
        return max(lags)

    # The best of five: what else runs on this machine delays the loop as well.
    assert min(asyncio.run(longest_lag()) for _ in range(5)) < 0.05


def test_odd_entries_of_the_inbox_neither_block_the_trigger_nor_hide_other_feeds(
    tmp_path: Path,
) -> None:
    os.mkfifo(land(tmp_path, "pipe", close=False) / "manifest.json")
    (land(tmp_path, "folder", close=False) / "manifest.json").mkdir()
    (land(tmp_path, "nested", close=False) / "manifest.json").write_text("[" * 100_000)
    (land(tmp_path, "loop", close=False) / "manifest.json").symlink_to("manifest.json")
    (land(tmp_path, "zeros", close=False) / "manifest.json").symlink_to("/dev/zero")
    (tmp_path / "loose.csv").touch()
    (tmp_path / "nowhere").symlink_to("nothing")
    for path in tmp_path.rglob("*"):
        os.utime(path, (1_700_000_000,) * 2, follow_symlinks=False)
    land(tmp_path, "two\nlines \udcff")
    land(tmp_path, "good")
    store = FakeStateStore()
    (payload,) = asyncio.run(events(of_inbox(tmp_path, store)))
    assert payload["feeds"] == ["folder", "loop", "nested", "pipe", "zeros", r"two\nlines \udcff", "good"]
    json.dumps([payload, store], ensure_ascii=False).encode()
