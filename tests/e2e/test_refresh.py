"""Three feeds through a real scheduler, triggerer and dag-processor to a served release."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.registry.client import Registry

if TYPE_CHECKING:
    from e2e.conftest import ThreeFeeds
    from recsim_demo.feeds import FeedRow

pytestmark = pytest.mark.e2e
DAG = "recsim_refresh"
NEW, REPLACED, REPRICED, DELETED = 50, 10, 15, 5


@pytest.fixture
def jobs(three_feeds: ThreeFeeds, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that the refreshes ran with."""
    for name, value in three_feeds.settings.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.fixture
def release(three_feeds: ThreeFeeds, jobs: Settings, tmp_path: Path) -> Release:
    """The champion, opened from the registry."""
    registry = Registry(jobs)
    champion = registry.champion()
    assert champion is not None
    return Release.open(registry.download(champion.version, tmp_path / "champion"))


def rows_of(uri: str) -> list[dict[str, Any]]:
    return list(pa.RecordBatchReader.from_stream(DeltaTable(uri).scan()).read_all().to_pylist())


def similar(three_feeds: ThreeFeeds, image: bytes | None, k: int = 5) -> list[dict[str, Any]]:
    assert image is not None
    with three_feeds.stack.client() as client:
        reply = client.post("/v1/similar", json={"image": base64.b64encode(image).decode(), "k": k})
    assert reply.status_code == httpx.codes.OK, reply.text
    assert reply.json()["release"] == 2
    return list(reply.json()["results"])


def second(three_feeds: ThreeFeeds, start: int, count: int) -> list[FeedRow]:
    return three_feeds.story.second[start : start + count]


def test_the_first_feed_retrains_the_second_appends_the_third_is_skipped(
    three_feeds: ThreeFeeds,
) -> None:
    assert [refresh.decision for refresh in three_feeds.refreshes] == ["retrain", "append", "skip"]


def test_an_outage_of_mlflow_is_retried_and_named_as_the_reason(three_feeds: ThreeFeeds) -> None:
    airflow, outage = three_feeds.stack.airflow, three_feeds.outage
    reason = f"MLflow at {three_feeds.stack.mlflow} (MLFLOW_TRACKING_URI) does not answer"
    assert outage.run_id == three_feeds.refreshes[1].run_id
    assert outage.state == "up_for_retry"
    assert reason in outage.reason
    assert f"Retry in 30 s: {reason}" in airflow.logs(DAG, outage.run_id, "plan", try_number=1)
    (plan,) = (task for task in airflow.task_instances(DAG, outage.run_id) if task["task_id"] == "plan")
    assert (plan["state"], plan["try_number"]) == ("success", 2)


def test_branches_that_are_not_needed_are_skipped(three_feeds: ThreeFeeds) -> None:
    airflow, append = three_feeds.stack.airflow, three_feeds.refreshes[1]
    states = {
        instance["task_id"]: instance["state"] for instance in airflow.task_instances(DAG, append.run_id)
    }
    assert {states[f"append.{task}"] for task in ("embed", "index")} == {"success"}
    assert {states[task] for task in ("evaluate", "register", "gate", "promote", "verify")} == {"success"}
    assert {states[f"retrain.{task}"] for task in ("tune", "train", "embed", "index")} == {"skipped"}
    skip = {
        instance["task_id"]: instance["state"]
        for instance in airflow.task_instances(DAG, three_feeds.refreshes[2].run_id)
    }
    assert (skip["up_to_date"], skip["evaluate"], skip["gate"], skip["promote"]) == (
        "success",
        *["skipped"] * 3,
    )


def test_only_new_images_are_embedded_and_each_once_per_encoder(
    three_feeds: ThreeFeeds, jobs: Settings
) -> None:
    airflow = three_feeds.stack.airflow
    first, append = (
        airflow.xcom(DAG, refresh.run_id, f"{refresh.decision}.embed")
        for refresh in three_feeds.refreshes[:2]
    )
    assert append["embedded"] == NEW + REPLACED
    assert append["embedded"] + append["reused"] == append["of"]
    keys = [(row["model_fingerprint"], row["image_hash"]) for row in rows_of(jobs.embeddings_uri)]
    assert len(keys) == len(set(keys)) == first["embedded"] + append["embedded"]
    assert len({model for model, _ in keys}) == 1


def test_the_index_takes_in_the_changes(three_feeds: ThreeFeeds) -> None:
    refresh = three_feeds.refreshes[1]
    result = three_feeds.stack.airflow.xcom(DAG, refresh.run_id, "append.index")
    assert {name: result[name] for name in ("added", "replaced", "removed", "size")} == {
        "added": NEW,
        "replaced": REPLACED,
        "removed": DELETED,
        "size": 2_000 + NEW - DELETED,
    }


def test_the_release_reflects_the_whole_catalogue_at_its_head(
    three_feeds: ThreeFeeds, jobs: Settings, release: Release
) -> None:
    products = {row["product_id"]: row for row in rows_of(jobs.products_uri)}
    items = {row["product_id"]: row for row in release.index.products.to_pylist()}
    assert items.keys() == products.keys()
    fields = ("title", "category", "price", "in_stock", "image_hash")
    assert all(items[name][field] == products[name][field] for name in items for field in fields)
    now = head(jobs.products_uri)
    assert now is not None
    assert release.manifest.cursor.table_id == now.table_id
    assert not release.index.exact


def test_a_new_product_is_found_by_its_image(three_feeds: ThreeFeeds) -> None:
    for row in second(three_feeds, 0, 5):
        best = similar(three_feeds, row["image"])[0]
        assert best["product_id"] == row["product_id"]
        assert best["score"] == pytest.approx(1, abs=1e-3)


def test_a_replaced_product_is_found_by_its_new_image_only(three_feeds: ThreeFeeds) -> None:
    old = {row["product_id"]: row["image"] for row in three_feeds.story.first}
    for row in second(three_feeds, NEW, REPLACED):
        assert similar(three_feeds, row["image"])[0]["product_id"] == row["product_id"]
        by_old = [
            hit["product_id"] for hit in similar(three_feeds, old[row["product_id"]]) if hit["score"] > 0.9999
        ]
        assert row["product_id"] not in by_old


def test_a_new_price_is_in_the_results(three_feeds: ThreeFeeds) -> None:
    images = {row["product_id"]: row["image"] for row in three_feeds.story.first}
    for row in second(three_feeds, NEW + REPLACED, 5):
        hits = {hit["product_id"]: hit for hit in similar(three_feeds, images[row["product_id"]])}
        assert hits[row["product_id"]]["price"] == row["price"] == 5.0


def test_a_deleted_product_is_not_found(three_feeds: ThreeFeeds, release: Release) -> None:
    deleted = [row["product_id"] for row in second(three_feeds, NEW + REPLACED + REPRICED, DELETED)]
    with three_feeds.stack.client() as client:
        reply = client.get(f"/v1/products/{deleted[0]}/similar")
    assert reply.status_code == httpx.codes.NOT_FOUND
    assert not set(deleted) & set(release.index.products.column("product_id").to_pylist())
    images = {row["product_id"]: row["image"] for row in three_feeds.story.first}
    assert not set(deleted) & {
        hit["product_id"] for name in deleted for hit in similar(three_feeds, images[name], k=20)
    }


def test_the_registry_has_one_champion_and_the_release_before_it(three_feeds: ThreeFeeds) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(three_feeds.stack.mlflow)
    versions = client.search_model_versions("name='recsim'")
    assert {int(version.version): version.current_stage for version in versions} == {
        1: "Archived",
        2: "Production",
    }
    assert client.get_registered_model("recsim").aliases == {"champion": "2", "previous": "1"}


def test_both_releases_share_one_model_and_it_beats_a_guess(
    three_feeds: ThreeFeeds, jobs: Settings, tmp_path: Path
) -> None:
    manifests = [
        Release.open(Registry(jobs).download(version, tmp_path / str(version))).manifest for version in (1, 2)
    ]
    assert manifests[0].model_fingerprint == manifests[1].model_fingerprint
    assert manifests[0].cursor.version < manifests[1].cursor.version
    assert manifests[1].metrics.precision_at_1 > 0.5


def test_every_task_has_a_status_line(three_feeds: ThreeFeeds) -> None:
    airflow, run_id = three_feeds.stack.airflow, three_feeds.refreshes[1].run_id
    reasons = {
        task: airflow.xcom(DAG, run_id, task, "reason")
        for task in (
            "ingest",
            "plan",
            "append.embed",
            "append.index",
            "evaluate",
            "register",
            "gate",
            "promote",
        )
    }
    assert all(reason and "\n" not in reason for reason in reasons.values()), reasons
    assert f"{NEW + REPLACED}" in reasons["append.embed"]
