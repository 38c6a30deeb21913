from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import BaseEventTrigger, BaseTrigger

from recsim_airflow.asset_triggers import CatalogueCommitTrigger, FeedManifestTrigger
from recsim_airflow.triggers import DeltaChangeDataFeedTrigger

pytestmark = pytest.mark.airflow


def waiting(uri: Path, **more: Any) -> DeltaChangeDataFeedTrigger:
    kwargs: dict[str, Any] = {"min_version": None, "after": {}, "poll_interval": 0.02} | more
    return DeltaChangeDataFeedTrigger(table_uri=str(uri), **kwargs)


def event(trigger: BaseTrigger) -> Any:
    """What the trigger says, within five seconds."""

    async def listen() -> Any:
        return (await asyncio.wait_for(anext(trigger.run()), 5)).payload  # type: ignore[arg-type]

    return asyncio.run(listen())


def commit(uri: Path, change_feed: bool = True) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    properties = {"delta.enableChangeDataFeed": "true"} if change_feed else None
    write_deltalake(str(uri), pa.table({"product_id": ["a"]}), mode="append", configuration=properties)


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
def test_a_trigger_survives_being_stored(trigger: BaseTrigger) -> None:
    from airflow.sdk.module_loading import import_string

    path, kwargs = trigger.serialize()
    again = import_string(path)(**json.loads(json.dumps(kwargs)))
    assert type(again) is type(trigger)
    assert again.serialize() == (path, kwargs)


def test_only_the_watchers_may_watch_an_asset() -> None:
    assert issubclass(FeedManifestTrigger, BaseEventTrigger)
    assert issubclass(CatalogueCommitTrigger, BaseEventTrigger)
    assert not issubclass(DeltaChangeDataFeedTrigger, BaseEventTrigger)


def test_it_waits_for_the_table_and_for_the_version(tmp_path: Path) -> None:
    uri = tmp_path / "products"

    async def scenario() -> Any:
        wait = asyncio.ensure_future(anext(waiting(uri, min_version=1).run()))  # type: ignore[arg-type]
        for _ in range(2):
            await asyncio.sleep(0.2)
            assert not wait.done()
            await asyncio.to_thread(commit, uri)
        return (await asyncio.wait_for(wait, 5)).payload

    head = asyncio.run(scenario())["head"]
    assert (head["version"], head["change_feed"]) == (1, True)


def test_it_does_not_wait_for_a_table_without_change_feed(tmp_path: Path) -> None:
    commit(tmp_path, change_feed=False)
    assert event(waiting(tmp_path, min_version=5))["head"]["change_feed"] is False


def test_what_cannot_be_read_ends_the_wait_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / f"{0:020}.json").write_text("no JSON")
    assert "cannot be read" in event(waiting(tmp_path))["error"]
