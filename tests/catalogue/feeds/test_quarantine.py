from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import deliver, upsert
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.feeds.ingest import ingest_feed
from recsim_tasks.catalogue.feeds.quarantine import quarantined
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("shared_spark")]
Rows = list[dict[str, Any]]


@pytest.fixture
def rows(fashion_mnist: FashionMnist) -> Rows:
    return [upsert(n, "shoe", fashion_mnist.train_images[n]) for n in range(30)]


def test_a_valid_row_releases_older_ones_and_an_id_is_used_once(
    settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    first = ingest_feed(
        settings, deliver(tmp_path, "one", [rows[0], {**rows[1], "image": rows[1]["image"][:60]}], "one")
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
