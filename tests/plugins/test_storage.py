"""An inbox in an object store: moto's server answers as S3 does."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from recsim_airflow.asset_triggers import FeedManifestTrigger
from recsim_airflow.storage import credentials, delta_options

if TYPE_CHECKING:
    from s3fs import S3FileSystem

pytestmark = pytest.mark.airflow


class FakeStore(dict[str, Any]):
    """An asset's state store that lives in memory."""

    async def aget(self, key: str) -> Any:
        return self.get(key)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def shop(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3FileSystem]:
    """Who delivers, with a bucket of its own; Airflow knows the store as connection `lake`."""
    from s3fs import S3FileSystem

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "a-key", "password": "a-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(connection))
    delivering = S3FileSystem(key="k", secret="s", endpoint_url=endpoint, skip_instance_cache=True)
    delivering.mkdir("lake")
    yield delivering
    delivering.rm("lake", recursive=True)


def look(trigger: FeedManifestTrigger) -> list[str]:
    """What the trigger would announce; it notes that."""

    async def once() -> list[str]:
        said, note = await trigger.look()
        if note is not None:
            trigger.asset_state_store["announced"] = note  # type: ignore[index]
        return said["feeds"] if said else []

    return asyncio.run(once())


@pytest.fixture
def watcher() -> FeedManifestTrigger:
    trigger = FeedManifestTrigger(asset_name="inbox", inbox="s3://lake/inbox", conn_id="lake")
    trigger.asset_state_store = FakeStore()  # type: ignore[assignment]
    trigger.started = False
    return trigger


def test_feeds_that_land_after_a_look_are_seen_by_the_next(
    shop: S3FileSystem, watcher: FeedManifestTrigger
) -> None:
    assert look(watcher) == []
    shop.pipe("lake/inbox/feed-1/products.csv", b"product_id")
    assert look(watcher) == [], "not closed yet"
    shop.pipe("lake/inbox/feed-1/manifest.json", b'{"feed_id": "one"')
    assert look(watcher) == [], "half written"
    shop.pipe("lake/inbox/feed-1/manifest.json", b'{"feed_id": "one"}')
    assert look(watcher) == ["feed-1"]
    assert look(watcher) == []
    shop.pipe("lake/inbox/.applied/feed-0/manifest.json", b"{}")
    shop.pipe("lake/inbox/feed-2/manifest.json", b"{}")
    assert look(watcher) == ["feed-1", "feed-2"]
    shop.rm("lake/inbox/feed-1", recursive=True)
    assert look(watcher) == []


def test_a_store_that_does_not_answer_is_a_fault_and_no_empty_inbox(
    shop: S3FileSystem, watcher: FeedManifestTrigger, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.pipe("lake/inbox/feed-1/manifest.json", b"{}")
    right = json.loads(os.environ["AIRFLOW_CONN_LAKE"])
    wrong = {**right, "extra": {"endpoint_url": "http://127.0.0.1:9"}}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(wrong))
    with pytest.raises(Exception, match="Could not connect"):
        look(watcher)
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(right))
    assert look(watcher) == ["feed-1"], "a connection that was mended is taken up"


def test_what_is_stored_of_a_watcher_has_no_secret(shop: S3FileSystem, watcher: FeedManifestTrigger) -> None:
    look(watcher)
    assert "a-secret" not in json.dumps(watcher.serialize())


def test_delta_rs_gets_the_same_credentials(shop: S3FileSystem, endpoint: str) -> None:
    assert delta_options(credentials("lake")) == {
        "AWS_ACCESS_KEY_ID": "a-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    assert delta_options(credentials(None)) == {}


def test_a_table_in_the_store_is_read_with_the_credentials_of_the_connection(shop: S3FileSystem) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    from recsim_airflow.commits import table_head

    options = delta_options(credentials("lake"))
    write_deltalake(
        "s3://lake/products",
        pa.table({"product_id": ["a"]}),
        storage_options={**options, "AWS_S3_ALLOW_UNSAFE_RENAME": "true"},
    )
    head = table_head("s3://lake/products", options)
    assert head is not None
    assert head.version == 0
