"""Plans from real tables and a real registry.

The changes come from the change feed, or from a comparison where it cannot be read.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from recsim_tasks.catalogue.delta.reader import read_products
from recsim_tasks.catalogue.schema import INDEXED
from recsim_tasks.contracts import Estimate, EvaluateResult, PlanResult, TrainResult
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh import steps
from recsim_tasks.refresh.workspace import Workspace
from recsim_tasks.release.registry.client import Registry
from refresh.conftest import PRODUCTS, at_head
from release.bundles import METRICS, products
from release.registered import REJECTED, evaluated

CHANGES = {"insert": 3, "replace": 2, "update": 0, "delete": 1}


def change(settings: Settings, time: int = 1) -> None:
    """Three products are added, two get another image, one is deleted; another `time` has other images."""
    first = PRODUCTS + 5 * (time - 1)
    rows = products(first + 5)
    new = rows.slice(first, 3)
    replaced = rows.slice(first + 3, 2).set_column(0, "product_id", pa.array(["p000", "p001"]))
    replaced = replaced.set_column(1, "title", pa.array(["Product 0", "Product 1"]))
    write_deltalake(settings.products_uri, new, mode="append")
    merging = DeltaTable(settings.products_uri).merge(
        replaced, "s.product_id = t.product_id", source_alias="s", target_alias="t"
    )
    merging.when_matched_update_all().execute()
    DeltaTable(settings.products_uri).delete("product_id = 'p009'")


def planned(settings: Settings, refresh: str = "r", mode: Any = "auto") -> PlanResult:
    workspace = Workspace.of(settings, refresh)
    return workspace.keep(steps.plan(settings, workspace, mode))


def vacuum(settings: Settings) -> None:
    """Remove the files that a compaction has replaced, those of the inserts too."""
    DeltaTable(settings.products_uri).optimize.compact()
    DeltaTable(settings.products_uri).vacuum(
        retention_hours=0, enforce_retention_duration=False, dry_run=False
    )


def clean_log(settings: Settings) -> None:
    DeltaTable(settings.products_uri).create_checkpoint()
    for version in range(at_head(settings).version):
        Path(settings.products_uri, "_delta_log", f"{version:020d}.json").unlink()


def turn_off(settings: Settings) -> None:
    DeltaTable(settings.products_uri).alter.set_table_properties({"delta.enableChangeDataFeed": "false"})


def recreate(settings: Settings) -> None:
    rows = pa.RecordBatchReader.from_stream(DeltaTable(settings.products_uri).scan()).read_all()
    shutil.rmtree(settings.products_uri)
    write_deltalake(settings.products_uri, rows, configuration={"delta.enableChangeDataFeed": "true"})


LOSSES: list[tuple[Callable[[Settings], None], str]] = [
    (vacuum, "files that it needs were removed"),
    (clean_log, "was cleaned"),
    (turn_off, "is off"),
    (recreate, "was recreated"),
]


@pytest.mark.parametrize(("lose", "reason"), LOSSES, ids=[lose.__name__ for lose, _ in LOSSES])
def test_a_gap_in_the_change_feed_is_a_rebuild_that_still_counts_what_changed(
    behind: Settings, lose: Callable[[Settings], None], reason: str
) -> None:
    change(behind)
    lose(behind)
    plan = planned(behind)
    assert (plan.decision, plan.changes, plan.estimate.images) == ("rebuild", CHANGES, 5)
    assert reason in plan.reasons[0]
    assert plan.reasons[1].endswith("has: 3 insert, 2 replace, 1 delete.")


def test_a_range_is_an_append_and_its_images_are_counted(
    behind: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    change(behind)
    plan = planned(behind)
    assert (plan.decision, plan.changes, plan.estimate) == (
        "append",
        CHANGES,
        Estimate(images=5, minutes=None),
    )
    text = caplog.text
    assert "Plan of r: append, for version 3 of the catalogue." in text
    assert "RECSIM_RETENTION_DAYS" in text
    assert "expected: 5 images to embed" in text


def test_an_image_that_is_embedded_already_is_not_counted(behind: Settings) -> None:
    relisted = products(1).set_column(0, "product_id", pa.array(["again"]))
    write_deltalake(behind.products_uri, relisted, mode="append")
    plan = planned(behind)
    assert (plan.decision, plan.changes["insert"], plan.estimate.images) == ("append", 1, 0)


@pytest.mark.parametrize("act", ["optimize", "overwrite", "nothing"])
def test_a_version_without_a_change_is_a_skip(behind: Settings, act: str) -> None:
    if act == "optimize":
        DeltaTable(behind.products_uri).optimize.z_order(["product_id"])
    elif act == "overwrite":
        rows = pa.RecordBatchReader.from_stream(DeltaTable(behind.products_uri).scan()).read_all()
        write_deltalake(behind.products_uri, rows, mode="overwrite")
    plan = planned(behind)
    assert (plan.decision, plan.estimate.images, set(plan.changes.values())) == ("skip", 0, {0})


def test_a_price_edit_embeds_nothing(behind: Settings) -> None:
    DeltaTable(behind.products_uri).update({"price": "1.0"}, predicate="product_id < 'p010'")
    plan = planned(behind)
    assert (plan.decision, plan.changes["update"], plan.estimate.images) == ("append", 10, 0)


def test_without_a_champion_every_product_is_an_insert(with_registry: Settings) -> None:
    write_deltalake(
        with_registry.products_uri, products(12), configuration={"delta.enableChangeDataFeed": "true"}
    )
    plan = planned(with_registry)
    assert (plan.decision, plan.changes["insert"], plan.estimate.images) == ("retrain", 12, 12)
    assert (plan.cursor, plan.champion) == (None, None)


def test_what_the_manifest_carries_decides(behind: Settings) -> None:
    manifest = Registry(behind).manifest(1)
    assert (manifest.counts["built"], manifest.counts["churn"], manifest.training.unseen) == (PRODUCTS, 0, 5)
    more = products(PRODUCTS + 8).slice(PRODUCTS)
    write_deltalake(
        behind.products_uri, more.set_column(2, "category", pa.array(["hats"] * 8)), mode="append"
    )
    assert planned(behind).decision == "append"
    strict = behind.model_copy(
        update={"retrain_category_products": 8, "retrain_unseen_share": 0.2, "rebuild_churn": 0.2}
    )
    plan = planned(strict)
    assert plan.decision == "retrain"
    assert [reason.split("(")[1][:-2] for reason in plan.reasons[:2]] == [
        "RECSIM_RETRAIN_UNSEEN_SHARE",
        "RECSIM_RETRAIN_CATEGORY_PRODUCTS",
    ]
    assert "RECSIM_REBUILD_CHURN" in plan.reasons[2]
    assert plan.estimate.images == PRODUCTS + 8


def test_a_champion_whose_manifest_is_of_an_earlier_version_is_named_and_replaced(behind: Settings) -> None:
    (path,) = behind.home.glob("mlflow/**/manifest.json")
    path.write_text(path.read_text().replace('"training"', '"trained"'))
    plan = planned(behind)
    assert (plan.decision, plan.champion) == ("retrain", 1)
    assert "is not a manifest (training: Field required)" in plan.reasons[0]


@pytest.mark.usefixtures("shared_spark")
def test_a_vacuum_behind_the_champion_costs_a_rebuild_and_no_image_twice(behind: Settings) -> None:
    change(behind)
    vacuum(behind)
    workspace = Workspace.of(behind, "r")
    assert planned(behind).decision == "rebuild"
    assert workspace.keep(steps.embed(behind, workspace)).embedded == 5
    steps.build_index(behind, workspace)
    from recsim_tasks.vectors.index import Index

    index = Index.open(workspace.index)
    now = read_products(behind.products_uri, at_head(behind), list(INDEXED)).sort_by("product_id")
    assert (
        index.products.select(INDEXED)
        .sort_by("product_id")
        .equals(now.cast(index.products.select(INDEXED).schema))
    )
    assert steps.embed(behind, workspace).embedded == 0
    embedded = (
        DeltaTable(behind.embeddings_uri).to_pyarrow_table(columns=["image_hash"])["image_hash"].to_pylist()
    )
    assert len(set(embedded)) == len(embedded) == PRODUCTS + 5


def evaluated_as(settings: Settings, refresh: str, evaluation: EvaluateResult) -> None:
    workspace = Workspace.of(settings, refresh)
    workspace.keep(evaluation.model_copy(update={"champion": 1, "decision": workspace.plan.decision}))


def test_an_append_rejected_for_its_index_is_rebuilt_until_a_rebuild_was_tried(behind: Settings) -> None:
    change(behind)
    rejected = evaluated("rejected", "Index recall: it finds 0.9.")
    mended = rejected.model_copy(update={"mended_by_rebuild": True})
    planned(behind, "first")
    assert planned(behind, "second").decision == "append"
    evaluated_as(behind, "first", mended)
    plan = planned(behind, "second")
    assert plan.decision == "rebuild"
    assert (
        plan.reasons[0] == "The gate rejected what refresh first appended to the champion's index: "
        "Index recall: it finds 0.9."
    )
    for _ in range(2):
        assert planned(behind, "first").decision == "rebuild", "also when its own plan is cleared"
    evaluated_as(behind, "second", REJECTED)
    assert planned(behind, "third").decision == "append"
    evaluated_as(behind, "third", rejected)
    assert planned(behind, "fourth").decision == "append"


DRIFTED = REJECTED.model_copy(
    update={
        "metrics": METRICS.model_copy(
            update={"drift": 0.9, "drift_images": 500.0, "drift_held_out_error": 0.01}
        )
    }
)


def trained(model_fingerprint: str) -> TrainResult:
    return TrainResult(
        model_fingerprint=model_fingerprint,
        ranks=1,
        metrics={},
        quality={},
        mlflow_run_id="run",
        trained_at=0.0,
    )


def test_the_drift_of_a_rejected_release_calls_for_a_training_which_is_tried_once(behind: Settings) -> None:
    change(behind)
    planned(behind, "first")
    evaluated_as(behind, "first", DRIFTED)
    plan = planned(behind, "second")
    assert plan.decision == "retrain"
    assert plan.reasons[0].startswith("The new images drift: with a likelihood of 0.90")
    Workspace.of(behind, "second").keep(trained("f" * 64))
    evaluated_as(behind, "second", REJECTED)
    assert planned(behind, "third").decision == "append"
    evaluated_as(behind, "third", DRIFTED)
    assert planned(behind, "fourth").decision == "append"


def test_the_training_that_made_the_champions_encoder_does_not_count_as_rejected(behind: Settings) -> None:
    change(behind)
    planned(behind, "first", "retrain")
    Workspace.of(behind, "first").keep(trained(Registry(behind).manifest(1).model_fingerprint))
    evaluated_as(behind, "first", DRIFTED)
    assert planned(behind, "second").decision == "retrain"
