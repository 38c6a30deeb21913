"""Follow the field `brand` from feeds to an answer; prints what each place has of it.

Needs a schema with that field.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from recsim_demo.feeds import deliver
from recsim_tasks.catalogue.delta.net_changes import net_changes
from recsim_tasks.catalogue.delta.reader import head, read_products
from recsim_tasks.catalogue.feeds.ingest import ingest_feed
from recsim_tasks.catalogue.feeds.quarantine import quarantined
from recsim_tasks.catalogue.schema import PRODUCT_TYPES
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import load_settings
from recsim_tasks.foundation.spark import spark_session
from recsim_tasks.release.bundle import Release
from recsim_tasks.vectors.filters import Filters
from release import bundles
from short_plans import SHORT_PLANS

SETTINGS = load_settings()


def text_feed(name: str, content: str) -> Path:
    feed = SETTINGS.home / name.replace(".", "-")
    feed.mkdir(parents=True)
    (feed / f"products.{name.rpartition('.')[2]}").write_text(content)
    (feed / "manifest.json").write_text(json.dumps({"feed_id": feed.name, "rows": 1}))
    return feed


def catalogue_head() -> Cursor:
    cursor = head(SETTINGS.products_uri)
    assert cursor is not None
    return cursor


def ingest_brands() -> pa.Table:
    """Ingest products from all formats, and return the net changes since the first feed."""
    one, two = (base64.b64encode(bundles.png_image(number)).decode() for number in range(2))
    rows: list[Any] = [
        {"product_id": "a", "brand": "Apex"},
        {"product_id": "c", "brand": "Corona", "image": bundles.png_image(2)},
        {"product_id": "d", "brand": "Dorado", "image": b"no image"},
    ]
    with spark_session(SETTINGS, "brand", SHORT_PLANS):
        ingest_feed(SETTINGS, text_feed("one.csv", f"product_id,brand,image\na,Acme,{one}\n"))
        before = catalogue_head()
        line = json.dumps({"product_id": "b", "brand": "Borealis", "image": two})
        ingest_feed(SETTINGS, text_feed("two.jsonl", line))
        result = ingest_feed(SETTINGS, deliver(SETTINGS.home, "three", rows, "three"))
        assert (result.inserted, result.updated, result.quarantined) == (1, 1, 1)
    return net_changes(SETTINGS.products_uri, before, catalogue_head())


def answered_brands(catalogue: pa.Table) -> dict[str, Any]:
    """The brands in an answer of a release that is made from the catalogue."""
    bundles.products = lambda *_: catalogue
    bundles.make_bundle(SETTINGS.home / "bundle")
    answer = Release.open(SETTINGS.home / "bundle" / "release").more_like("a", 2, Filters())
    return {str(product["product_id"]): product["brand"] for product in answer}


if __name__ == "__main__":
    changes = ingest_brands()
    catalogue = read_products(SETTINGS.products_uri, catalogue_head(), list(PRODUCT_TYPES))
    (invalid,) = quarantined(SETTINGS).newest
    ids, brands = catalogue["product_id"].to_pylist(), catalogue["brand"].to_pylist()
    places = {
        "catalogue": dict(zip(ids, brands, strict=True)),
        "changes": changes.select(["product_id", "kind", "brand"]).to_pylist(),
        "quarantine": json.loads(invalid.row or "")["brand"],
        "answer": answered_brands(catalogue),
    }
    print(json.dumps(places))
