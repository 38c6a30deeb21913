from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import FeedRow, deliver, upsert
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.feeds.ingest import ingest_feed
from recsim_tasks.catalogue.feeds.quarantine import quarantine_products, quarantined
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings

Rows = list[FeedRow]


@pytest.fixture
def rows(fashion_mnist: FashionMnist) -> Rows:
    return [upsert(n, "shoe", fashion_mnist.train_images[n]) for n in range(30)]


@pytest.mark.spark
@pytest.mark.usefixtures("shared_spark")
def test_a_valid_row_releases_older_ones_and_an_id_is_used_once(
    settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    image = rows[1]["image"]
    assert image is not None
    first = ingest_feed(
        settings, deliver(tmp_path, "one", [rows[0], {**rows[1], "image": image[:60]}], "one")
    )
    assert (first.quarantined, first.quarantined_share) == (1, 0.5)
    (waiting,) = quarantined(settings, feed_id="one").newest
    assert (waiting.product_id, "does not decode" in str(waiting.reason)) == (rows[1]["product_id"], True)
    assert json.loads(waiting.row or "")["title"] == rows[1]["title"]

    ingest_feed(settings, deliver(tmp_path, "two", [rows[1]], "two"))
    assert quarantined(settings).rows == 0
    (released,) = quarantined(settings, product_id=rows[1]["product_id"], include_released=True).newest
    assert (released.released_by, released.released_at is not None) == ("two", True)
    before = head(settings.products_uri)
    with pytest.raises(InputError, match="an id can be used once"):
        ingest_feed(settings, deliver(tmp_path / "again", "two", rows[:3], "two"))
    assert head(settings.products_uri) == before


def test_a_product_that_another_process_has_just_quarantined_is_not_added_again(settings: Settings) -> None:
    row = {"feed_id": "model one", "product_id": "a", "reason": "no unit vector", "at": datetime.now(UTC)}
    columns = ("row", "released_by")
    rows = pa.table(
        {
            **{name: [value] for name, value in row.items()},
            **{name: pa.nulls(1, pa.string()) for name in columns},
            "released_at": pa.nulls(1, pa.timestamp("us", "UTC")),
        }
    )
    no_spark: Any = None  # nothing is left to write
    with ThreadPoolExecutor(1) as pool:
        with lease(settings.home, settings.quarantine_uri):
            waiting = pool.submit(
                quarantine_products, no_spark, settings, "model one", "no unit vector", {"a"}
            )
            time.sleep(1)
            write_deltalake(settings.quarantine_uri, rows)
        waiting.result(timeout=60)
    assert quarantined(settings).rows == 1
