"""Hooks on an object store: moto's server answers as S3 does."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from plugins.airflow_fakes import FakeStateStore
from recsim_airflow.hooks import DeltaTableHook, ObjectStoreHook, StorageCredentials
from recsim_airflow.triggers import FeedManifestTrigger

if TYPE_CHECKING:
    from s3fs import S3FileSystem

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3FileSystem]:
    """The bucket `lake`, as a sender of feeds sees it; Airflow's connection is called `lake` too."""
    from s3fs import S3FileSystem

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "a-key", "password": "a-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(connection))
    sender = S3FileSystem(key="k", secret="s", endpoint_url=endpoint, skip_instance_cache=True)
    sender.mkdir("lake")
    yield sender
    sender.rm("lake", recursive=True)


def look(trigger: FeedManifestTrigger) -> Any:
    """The feeds that the trigger announces; records the announcement."""

    async def once() -> Any:
        event, record = await trigger.look()
        if record is not None:
            trigger.asset_state_store["announced"] = record  # type: ignore[index]
        return event["feeds"] if event else []

    return asyncio.run(once())


@pytest.fixture
def trigger() -> FeedManifestTrigger:
    trigger = FeedManifestTrigger(asset_name="inbox", inbox="s3://lake/inbox", conn_id="lake")
    trigger.asset_state_store = FakeStateStore()  # type: ignore[assignment]
    trigger.first_look = False
    return trigger


def test_a_feed_that_lands_after_a_look_is_seen_by_the_next_one(
    store: S3FileSystem, trigger: FeedManifestTrigger
) -> None:
    assert look(trigger) == []
    store.pipe("lake/inbox/feed-1/products.csv", b"product_id")
    assert look(trigger) == [], "not closed yet"
    store.pipe("lake/inbox/feed-1/manifest.json", b'{"feed_id": "one"')
    assert look(trigger) == [], "half written"
    store.pipe("lake/inbox/feed-1/manifest.json", b'{"feed_id": "one"}')
    assert look(trigger) == ["feed-1"]
    assert look(trigger) == []
    store.pipe("lake/inbox/.applied/feed-0/manifest.json", b"{}")
    store.pipe("lake/inbox/feed-2/manifest.json", b"{}")
    assert look(trigger) == ["feed-1", "feed-2"]
    store.rm("lake/inbox/feed-1", recursive=True)
    assert look(trigger) == []


def test_a_store_that_does_not_answer_is_an_error_and_no_empty_inbox(
    store: S3FileSystem, trigger: FeedManifestTrigger, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.pipe("lake/inbox/feed-1/manifest.json", b"{}")
    right = json.loads(os.environ["AIRFLOW_CONN_LAKE"])
    wrong = {**right, "extra": {"endpoint_url": "http://127.0.0.1:9"}}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(wrong))
    with pytest.raises(Exception, match="Could not connect"):
        look(trigger)
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(right))
    assert look(trigger) == ["feed-1"], "a corrected connection is used"


def test_a_serialized_trigger_has_no_secret(store: S3FileSystem, trigger: FeedManifestTrigger) -> None:
    look(trigger)
    assert "a-secret" not in json.dumps(trigger.serialize())


def test_delta_rs_gets_the_same_credentials(store: S3FileSystem, endpoint: str) -> None:
    credentials = ObjectStoreHook("lake").get_credentials()
    assert "a-secret" not in repr(credentials)
    assert credentials.delta_options() == {
        "AWS_ACCESS_KEY_ID": "a-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    assert ObjectStoreHook().get_credentials() == StorageCredentials()
    assert StorageCredentials().delta_options() == StorageCredentials().fsspec_options() == {}


def test_a_table_in_the_store_is_read_with_the_credentials_of_the_connection(store: S3FileSystem) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    hook = DeltaTableHook("s3://lake/products", "lake")
    options = hook.get_credentials().delta_options()
    write_deltalake(
        "s3://lake/products",
        pa.table({"product_id": ["a"]}),
        storage_options={**options, "AWS_S3_ALLOW_UNSAFE_RENAME": "true"},
    )
    head = hook.get_head()
    assert head is not None
    assert head.version == 0
