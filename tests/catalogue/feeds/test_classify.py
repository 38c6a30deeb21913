from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import FeedRow, deliver, upsert
from recsim_tasks.catalogue.feeds.ingest import ingest_feed
from recsim_tasks.catalogue.feeds.quarantine import quarantined
from recsim_tasks.foundation.settings import Settings, load_settings

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("shared_spark")]
Rows = list[FeedRow]


@pytest.fixture
def rows(fashion_mnist: FashionMnist) -> Rows:
    return [upsert(n, "shoe", fashion_mnist.train_images[n]) for n in range(30)]


def table(uri: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        pa.RecordBatchReader.from_stream(DeltaTable(uri).scan()).read_all().to_pylist()
    )
    return rows


def test_the_latest_row_counts_and_contradictions_and_shared_images_are_quarantined(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    monkeypatch.setenv("RECSIM_PLACEHOLDER_PRODUCTS", "3")
    settings = load_settings()

    def at(row: FeedRow, day: int | None, title: str) -> dict[str, Any]:
        return {
            "product_id": row["product_id"],
            "title": title,
            "image": row["image"],
            "updated_at": None if day is None else f"2026-11-{day:02d}",
        }

    feed = tmp_path / "several [1]*"
    feed.mkdir()
    several = [
        at(rows[0], 2, "new"),
        at(rows[0], 1, "old"),
        at(rows[1], 3, "one"),
        at(rows[1], 3, "other"),
        at(rows[2], 1, "dated"),
        at(rows[2], None, "undated"),
        *({**at(row, 1, "shown to all"), "image": rows[9]["image"]} for row in rows[3:7]),
    ]
    table_of_rows = pa.Table.from_pylist(several)
    moments = table_of_rows.column("updated_at").cast(pa.timestamp("us"))
    pq.write_table(table_of_rows.set_column(3, "updated_at", moments), feed / "products.parquet")
    (feed / "manifest.json").write_text(json.dumps({"feed_id": "several", "rows": len(several)}))
    result = ingest_feed(settings, feed)
    assert (result.inserted, result.outdated, result.quarantined) == (2, 2, 6)
    reasons = [str(row.reason) for row in quarantined(settings).newest]
    assert sum("this feed gives it to 4 products" in reason for reason in reasons) == 4
    assert {row["product_id"]: row["title"] for row in table(settings.products_uri)} == {
        rows[0]["product_id"]: "new",
        rows[2]["product_id"]: "dated",
    }


def test_equal_rows_count_once_and_contradictory_rows_are_quarantined(settings: Settings, rows: Rows) -> None:
    without_image: FeedRow = {**rows[3], "image": None}
    several: Rows = [
        rows[0],
        rows[0],
        rows[0],
        rows[1],
        rows[1],
        {**rows[1], "price": 1.5},
        rows[2],
        without_image,
        without_image,
    ]
    result = ingest_feed(settings, deliver(settings.home, "feed", several, "feed"))
    assert (result.inserted, result.unchanged, result.quarantined) == (2, 2, 5)
    invalid = quarantined(settings, product_id=rows[3]["product_id"])
    assert invalid.rows == 2, "a repeat of an invalid row does not release it"
