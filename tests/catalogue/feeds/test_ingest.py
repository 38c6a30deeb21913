from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import FeedRow, delete, deliver, upsert
from recsim_tasks.catalogue.delta.reader import head, open_table, read_image, read_products
from recsim_tasks.catalogue.feeds import ingest
from recsim_tasks.catalogue.feeds.feed import Feed
from recsim_tasks.catalogue.feeds.inbox import ingest_inbox
from recsim_tasks.catalogue.feeds.ingest import ingest_feed
from recsim_tasks.catalogue.feeds.readers import read_rows
from recsim_tasks.contracts import FeedResult, IngestResult, RowCounts
from recsim_tasks.foundation.errors import InputError, OnHoldError, UnavailableError
from recsim_tasks.foundation.settings import Settings, load_settings

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("shared_spark")]
Rows = list[FeedRow]


@pytest.fixture
def rows(fashion_mnist: FashionMnist) -> Rows:
    return [upsert(n, f"c{fashion_mnist.train_labels[n]}", fashion_mnist.train_images[n]) for n in range(40)]


def table(uri: str) -> dict[str, dict[str, Any]]:
    """Every row of the table with all its columns, by product id."""
    reader = DeltaTable(uri).scan()
    return {row["product_id"]: row for row in pa.RecordBatchReader.from_stream(reader).read_all().to_pylist()}


def test_a_feed_inserts_updates_deletes_and_quarantines_and_is_applied_once(
    settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    first = ingest_feed(settings, deliver(tmp_path, "one", rows[:30], "one"))
    feed_result = FeedResult(feed_id="one", applied=True, inserted=30, table_version=1)
    assert first == IngestResult(**feed_result.model_dump(exclude={"accepted"}), feeds=[feed_result])

    changes: Rows = [
        *rows[30:],
        {**rows[0], "image": rows[35]["image"]},
        {**rows[1], "price": 5.0, "image": None},
        rows[2],
        delete(3),
        {**rows[4], "image": b"no image"},
        upsert(900, "new", None),
    ]
    second = deliver(tmp_path, "two", changes, "two")
    (effect,) = ingest_feed(settings, second).feeds
    counts = RowCounts(inserted=10, updated=2, deleted=1, unchanged=1, quarantined=2)
    assert effect == FeedResult(
        feed_id="two", applied=True, table_version=effect.table_version, **counts.model_dump()
    )
    assert effect.quarantined_share == 0.125

    products = table(settings.products_uri)
    assert products.keys() == {row["product_id"] for row in rows} - {rows[3]["product_id"]}
    assert products[rows[0]["product_id"]]["image"] == rows[35]["image"]
    assert products[rows[1]["product_id"]]["price"] == 5.0
    assert products[rows[1]["product_id"]]["image"] == rows[1]["image"]
    assert products[rows[4]["product_id"]]["image"] == rows[4]["image"]
    invalid = table(settings.quarantine_uri)
    assert {name: row["feed_id"] for name, row in invalid.items()} == {
        rows[4]["product_id"]: "two",
        "fashion-00900": "two",
    }
    assert "does not decode" in invalid[rows[4]["product_id"]]["reason"]
    assert invalid[rows[4]["product_id"]]["image"] == b"no image"
    assert json.loads(invalid["fashion-00900"]["row"])["category"] == "new"

    before = head(settings.products_uri)
    assert ingest_feed(settings, second).applied is False
    assert (head(settings.products_uri), table(settings.products_uri), table(settings.quarantine_uri)) == (
        before,
        products,
        invalid,
    )


def test_the_tables_have_the_properties_that_readers_rely_on(
    settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    ingest_feed(settings, deliver(tmp_path, "one", rows[:3], "one"))
    properties = DeltaTable(settings.products_uri).metadata().configuration
    assert properties["delta.enableChangeDataFeed"] == "true"
    assert properties["delta.columnMapping.mode"] == "none"
    assert properties["delta.enableDeletionVectors"] == "true"
    assert (
        properties["delta.logRetentionDuration"]
        == properties["delta.deletedFileRetentionDuration"]
        == "interval 30 days"
    )
    cursor = head(settings.products_uri)
    assert cursor is not None
    assert sorted(
        read_products(settings.products_uri, cursor, ["product_id"]).column(0).to_pylist()
    ) == sorted(row["product_id"] for row in rows[:3])
    stored = read_products(settings.products_uri, cursor, ["product_id", "image_hash"]).to_pylist()
    hashes, table = (
        {row["product_id"]: row["image_hash"] for row in stored},
        open_table(settings.products_uri),
    )
    product_id = rows[1]["product_id"]
    assert read_image(table, product_id, hashes[product_id]) == rows[1]["image"]
    assert read_image(table, product_id, "another image") is None
    assert read_image(table, "o'brien", hashes[product_id]) is None


def test_csv_and_jsonl_have_images_in_base64_or_in_files(
    settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    import base64

    first, second = rows[0]["image"], rows[1]["image"]
    assert first is not None
    assert second is not None
    for kind in ("csv", "jsonl"):
        feed = tmp_path / f"{kind} [1]{{a,b}}*?"  # Spark would take it for a pattern
        feed.mkdir()
        (feed / "one.png").write_bytes(second)
        text = base64.b64encode(first).decode()
        lines = {
            "csv": "product_id,title,price,image,image_path\n"
            f'csv-a,"Boot, high",9.5,{text},\ncsv-b,Bag,,,one.png\ncsv-c,Bad,,,../x.png\n',
            "jsonl": "".join(
                json.dumps(row) + "\n"
                for row in (
                    {"product_id": "jsonl-a", "title": "Boot, high", "price": 9.5, "image": text},
                    {"product_id": "jsonl-b", "title": "Bag", "image_path": "one.png"},
                    {"product_id": "jsonl-c", "title": "Bad", "image_path": "../x.png"},
                )
            ),
        }
        (feed / f"products.{kind}").write_text(lines[kind])
        (feed / "manifest.json").write_text(json.dumps({"feed_id": kind, "rows": 3}))
        result = ingest_feed(settings, feed)
        assert (result.inserted, result.quarantined) == (2, 1)
    products = table(settings.products_uri)
    assert [products[f"{kind}-a"]["title"] for kind in ("csv", "jsonl")] == ["Boot, high"] * 2
    assert [products[f"{kind}-a"]["price"] for kind in ("csv", "jsonl")] == [9.5] * 2
    assert {products[f"{kind}-{n}"]["image_hash"] for kind in ("csv", "jsonl") for n in "ab"} == {
        products["csv-a"]["image_hash"],
        products["csv-b"]["image_hash"],
    }


@pytest.mark.parametrize("fault", ["count", "type", "column", "torn"])
def test_a_bad_file_of_rows_is_refused_and_nothing_is_written(
    settings: Settings, tmp_path: Path, rows: Rows, fault: str
) -> None:
    feed = deliver(tmp_path, fault, rows[:3], fault)
    if fault == "count":
        (feed / "manifest.json").write_text(json.dumps({"feed_id": fault, "rows": 4}))
    elif fault == "torn":
        whole = (feed / "products.parquet").read_bytes()
        (feed / "products.parquet").write_bytes(whole[: len(whole) // 2])
    else:
        columns = {
            "product_id": ["a", "b", "c"],
            ("price" if fault == "type" else "prise"): [["1"], ["2"], ["3"]],
        }
        pq.write_table(pa.table(columns), feed / "products.parquet")
    reason = {
        "count": "3 rows, its manifest says 4",
        "type": "price is list",
        "column": "unknown column prise",
        "torn": "not Parquet",
    }[fault]
    with pytest.raises(InputError, match=reason):
        ingest_feed(settings, feed)
    assert head(settings.products_uri) is None


def test_a_full_feed_withdraws_the_products_that_it_does_not_name(
    settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    ingest_feed(settings, deliver(tmp_path, "one", rows[:10], "one"))
    before = head(settings.products_uri)
    with pytest.raises(OnHoldError, match=r"8 of 10 products \(80%\)"):
        ingest_feed(settings, deliver(tmp_path, "partial", rows[:2], "partial", full=True))
    assert head(settings.products_uri) == before
    broken: FeedRow = {**rows[6], "image": b"broken"}
    result = ingest_feed(settings, deliver(tmp_path, "full", [*rows[:6], broken], "full", full=True))
    assert (result.deleted, result.quarantined, result.unchanged) == (3, 1, 6)
    assert table(settings.products_uri).keys() == {row["product_id"] for row in rows[:7]}


def test_the_inbox_is_ingested_in_order_and_a_bad_feed_blocks_no_other(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, rows: Rows
) -> None:
    inbox = settings.inbox_dir
    synced: list[tuple[int, bool]] = []
    monkeypatch.setattr(
        os,
        "sync",
        lambda: synced.append((DeltaTable(settings.products_uri).version(), (inbox / "a-last").exists())),
    )
    feeds: dict[str, Rows] = {
        "z-first": rows[:2],
        "bad": rows[:1],
        "a-last": [{**rows[0], "price": 77.0}],
    }
    for number, (name, feed_rows) in enumerate(feeds.items()):
        feed = deliver(inbox, name, feed_rows, name)
        if name == "bad":
            (feed / "manifest.json").write_text("{}")
        os.utime(feed / "manifest.json", (number, number))
    with pytest.raises(InputError, match="bad"):
        ingest_inbox(settings)
    assert synced == [(1, True), (2, True)]  # a feed leaves the inbox only after its commit is on disk
    assert table(settings.products_uri)[rows[0]["product_id"]]["price"] == 77.0
    assert sorted(path.name.partition("-")[2] for path in (inbox / ".applied").iterdir()) == [
        "a-last",
        "z-first",
    ]
    assert "feed_id" in json.loads(next((inbox / ".refused").glob("*-bad/note.json")).read_text())["reason"]
    assert ingest_inbox(settings) == IngestResult(feed_id=None, applied=False, table_version=2)


def test_a_spark_master_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    monkeypatch.setenv("RECSIM_SPARK_MASTER", "spark://127.0.0.1:1")
    with pytest.raises(UnavailableError, match="RECSIM_SPARK_MASTER"):
        ingest_feed(load_settings(), deliver(tmp_path, "one", rows[:2], "one"))


def test_a_feed_whose_file_disappears_stays_and_a_corrupt_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, rows: Rows
) -> None:
    for number, name in enumerate(("corrupt", "gone")):
        os.utime(deliver(settings.inbox_dir, name, rows, name) / "manifest.json", (number + 1, number + 1))

    def read_and_break(spark: Any, feed: Feed) -> Any:
        """The driver opens the file; Spark's tasks read it later."""
        frame, content = read_rows(spark, feed), feed.source.read_bytes()
        if feed.feed_id == "gone":
            feed.source.unlink()
        else:
            feed.source.write_bytes(content[:4] + bytes(len(content) - 1000) + content[-996:])
        return frame

    monkeypatch.setattr(ingest, "read_rows", read_and_break)
    with pytest.raises(
        UnavailableError, match=r"gone/\S+ disappeared while it was read\. The feed is not refused"
    ):
        ingest_inbox(settings)
    (refused,) = (settings.inbox_dir / ".refused").iterdir()
    assert "cannot be read as parquet" in json.loads((refused / "note.json").read_text())["reason"]
    assert (settings.inbox_dir / "gone" / "manifest.json").exists()
