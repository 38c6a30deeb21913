"""Tables that other writers change: interrupted creation, RESTORE, bad rows, constraints."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import FeedRow, deliver, upsert
from recsim_tasks.catalogue.delta.feed_commits import feeds_between
from recsim_tasks.catalogue.delta.reader import head, open_table, scan
from recsim_tasks.catalogue.feeds.inbox import ingest_inbox
from recsim_tasks.catalogue.feeds.ingest import ingest_feed
from recsim_tasks.catalogue.schema import PRODUCT_TYPES
from recsim_tasks.foundation.errors import ConfigurationError, InputError
from recsim_tasks.foundation.settings import Settings

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("shared_spark")]
Rows = list[FeedRow]


@pytest.fixture
def rows(fashion_mnist: FashionMnist) -> Rows:
    return [upsert(n, f"c{n % 2}", fashion_mnist.train_images[n]) for n in range(8)]


def prices(settings: Settings) -> dict[str, float]:
    rows = scan(open_table(settings.products_uri), ["product_id", "price"]).to_pylist()
    return {row["product_id"]: row["price"] for row in rows}


def sql(settings: Settings, statement: str) -> None:
    from pyspark.sql import SparkSession

    spark = SparkSession.getActiveSession()
    assert spark is not None
    spark.sql(statement.replace("TABLE!", f"delta.`{settings.products_uri}`"))


def test_a_table_is_created_over_the_remains_of_a_killed_creation(
    settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    for uri in (settings.products_uri, settings.quarantine_uri, settings.withdrawals_uri):
        (Path(uri) / "_delta_log").mkdir(parents=True)
        (Path(uri) / "_delta_log" / ".00000000000000000000.json.1234.tmp").write_text("{")
    dated = {**upsert(9, "c1", None), "op": "delete", "updated_at": "2026-01-01"}
    table = pa.Table.from_pylist([{**row, "updated_at": "2026-01-01"} for row in rows[:2]] + [dated])
    feed = deliver(tmp_path, "one", rows[:2], "one")
    moments = table.column("updated_at").cast(pa.timestamp("us"))
    pa.parquet.write_table(
        table.set_column(table.column_names.index("updated_at"), "updated_at", moments),
        feed / "products.parquet",
    )
    (feed / "manifest.json").write_text('{"feed_id": "one", "rows": 3}')
    assert ingest_feed(settings, feed).inserted == 2
    assert DeltaTable(settings.withdrawals_uri).version() == 1


def test_a_feed_that_a_restore_has_undone_is_applied_again_when_it_is_redelivered(
    settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    one = deliver(tmp_path, "one", [{**row, "price": 1.0} for row in rows[:3]], "one")
    two = deliver(tmp_path, "two", [{**row, "price": 2.0} for row in rows[2:4]], "two")
    ingest_feed(settings, one)
    ingest_feed(settings, two)
    whole = prices(settings)
    sql(settings, "RESTORE TABLE TABLE! TO VERSION AS OF 1")
    assert ingest_feed(settings, one).applied is False
    assert ingest_feed(settings, two).applied is True
    assert prices(settings) == whole
    before = head(settings.products_uri)
    assert before is not None
    assert ingest_feed(settings, two).applied is False
    assert head(settings.products_uri) == before
    assert [commit.version for commit in feeds_between(settings.products_uri, None, before)] == [1, 4]

    DeltaTable(settings.products_uri).restore(1)
    DeltaTable(settings.products_uri).restore(2)  # forward again: both feeds are in effect
    assert prices(settings) == whole
    assert [ingest_feed(settings, feed).applied for feed in (one, two)] == [False, False]

    DeltaTable(settings.products_uri).restore(1)
    other = deliver(tmp_path, "other", rows[6:7], "two")
    assert ingest_feed(settings, other).applied is True, "the id is free again because its feed was undone"
    with pytest.raises(InputError, match="other content"):
        ingest_feed(settings, two)


def test_rows_that_violate_a_constraint_of_another_writer_are_quarantined(
    settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    ingest_feed(settings, deliver(tmp_path, "one", rows[:2], "one"))
    sql(settings, "ALTER TABLE TABLE! ADD CONSTRAINT cheap CHECK (price < 1000)")
    sql(settings, "ALTER TABLE TABLE! ADD CONSTRAINT hashed CHECK (length(image_hash) > 5)")
    sql(settings, "ALTER TABLE TABLE! ADD CONSTRAINT named CHECK (category IS NOT NULL)")
    changes: Rows = [
        {**rows[0], "price": 5000.0},
        {**rows[1], "price": 7.0, "image": None},
        {**rows[2], "category": None},
        rows[3],
    ]
    result = ingest_feed(settings, deliver(tmp_path, "two", changes, "two"))
    assert (result.inserted, result.updated, result.quarantined) == (1, 1, 2)
    quarantine = scan(open_table(settings.quarantine_uri), ["product_id", "reason"]).to_pylist()
    reasons = {row["product_id"]: row["reason"] for row in quarantine}
    assert "constraint cheap" in reasons[rows[0]["product_id"]]
    assert "constraint named" in reasons[rows[2]["product_id"]]

    sql(settings, "ALTER TABLE TABLE! ADD CONSTRAINT shown CHECK (image IS NOT NULL)")
    before = head(settings.products_uri)
    with pytest.raises(ConfigurationError, match="constraint shown"):
        ingest_feed(settings, deliver(tmp_path, "three", rows[4:6], "three"))
    assert head(settings.products_uri) == before


def test_a_damaged_catalogue_is_not_the_fault_of_a_feed(settings: Settings, rows: Rows) -> None:
    deliver(settings.inbox_dir, "one", rows[:2], "one")
    ingest_inbox(settings)
    first = scan(open_table(settings.products_uri), list(PRODUCT_TYPES)).slice(0, 1)
    write_deltalake(settings.products_uri, first, mode="append")
    deliver(settings.inbox_dir, "two", rows[2:4], "two")
    before = head(settings.products_uri)
    with pytest.raises(InputError, match=f"more than once: {first['product_id'][0].as_py()}"):
        ingest_inbox(settings)
    assert head(settings.products_uri) == before
    assert (settings.inbox_dir / "two" / "manifest.json").exists()
