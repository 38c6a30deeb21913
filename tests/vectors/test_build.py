"""Append against rebuild, on real Delta tables: nobody can tell one from the other."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from recsim_tasks.catalogue.delta.maintenance import maintain
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.vectors.build import append, build, compact
from recsim_tasks.vectors.index import Index
from recsim_tasks.vectors.thumbnails import BYTES

MODEL, DIMENSIONS, PRODUCTS = "model-a", 8, 300
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("product_id", "title", "category")),
        ("price", pa.float64()),
        ("in_stock", pa.bool_()),
        ("image_hash", pa.string()),
    ]
)


def row(number: int, image: str | None = None, price: float = 1.0) -> dict[str, object]:
    picture = hashlib.sha256((image or f"image {number}").encode()).hexdigest()
    return {
        "product_id": f"p{number}",
        "title": f"t{number}",
        "category": f"c{number % 3}",
        "price": price,
        "in_stock": True,
        "image_hash": picture,
    }


def vector(image_hash: str) -> list[float]:
    """What the model would give for this image."""
    drawn = np.random.default_rng(int(image_hash[:12], 16)).normal(size=DIMENSIONS).astype(np.float32)
    return (drawn / np.linalg.norm(drawn)).tolist()


def look(image_hash: str) -> bytes:
    """The thumbnail that this image would have."""
    return np.random.default_rng(int(image_hash[:12], 16)).integers(1, 250, BYTES).astype(np.uint8).tobytes()


def embed(settings: Settings, rows: list[dict[str, object]]) -> None:
    hashes = [str(row["image_hash"]) for row in rows]
    columns = {
        "model_fingerprint": [MODEL] * len(rows),
        "image_hash": hashes,
        "embedding": pa.array([vector(h) for h in hashes], pa.list_(pa.float32())),
        "thumbnail": pa.array([look(h) for h in hashes], pa.binary()),
    }
    write_deltalake(
        settings.embeddings_uri, pa.table(columns), mode="append", partition_by=["model_fingerprint"]
    )


@pytest.fixture(params=["100000", "50"], ids=["exact", "inverted lists"])
def shop(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A catalogue of 300 products at version 0, all embedded."""
    monkeypatch.setenv("RECSIM_INDEX_EXACT_BELOW", request.param)
    settings = load_settings()
    rows = [row(number) for number in range(PRODUCTS)]
    write_deltalake(
        settings.products_uri,
        pa.Table.from_pylist(rows, schema=SCHEMA),
        configuration={"delta.enableChangeDataFeed": "true"},
    )
    embed(settings, rows)
    return settings


def at_head(settings: Settings) -> Cursor:
    cursor = head(settings.products_uri)
    assert cursor is not None
    return cursor


def change(settings: Settings) -> None:
    """Two commits: new and replaced images, price edits, a product that comes and goes, deletions."""
    rows = [row(900), row(901), row(5, image="another"), row(7, price=9.0), row(950)]
    embed(settings, [rows[0], rows[1], rows[2], rows[4]])
    merging = DeltaTable(settings.products_uri).merge(
        pa.Table.from_pylist(rows, schema=SCHEMA),
        "s.product_id = t.product_id",
        source_alias="s",
        target_alias="t",
    )
    merging.when_matched_update_all().when_not_matched_insert_all().execute()
    DeltaTable(settings.products_uri).delete("product_id in ('p9', 'p950')")


def contents(index: Index) -> dict[str, tuple[object, ...]]:
    """Fields and vector of every product, by its id."""
    ids, vectors = index.all_vectors()
    fields = {row["product_id"]: row for row in index.items.drop(["row_key"]).to_pylist()}
    return {
        name: (*fields[name].values(), *vector.tolist()) for name, vector in zip(ids, vectors, strict=True)
    }


def test_an_index_that_was_appended_to_holds_what_one_built_anew_holds(shop: Settings) -> None:
    appended, _ = build(shop, at_head(shop), MODEL)
    change(shop)
    counts = append(shop, appended, at_head(shop))
    rebuilt, _ = build(shop, at_head(shop), MODEL)
    assert counts == {"size": PRODUCTS + 1, "added": 2, "replaced": 1, "removed": 1}
    assert contents(appended) == contents(rebuilt)
    assert appended.metadata.cursor == rebuilt.metadata.cursor == at_head(shop)


def test_neighbours_are_the_same_whichever_way_the_index_was_made(shop: Settings) -> None:
    appended, _ = build(shop, at_head(shop), MODEL)
    change(shop)
    append(shop, appended, at_head(shop))
    rebuilt, _ = build(shop, at_head(shop), MODEL)
    queries = rebuilt.all_vectors()[1]
    pairs = zip(appended.search(queries, 10), rebuilt.search(queries, 10), strict=True)
    same = np.mean(
        [
            len({hit.product_id for hit in one} & {hit.product_id for hit in other}) / 10
            for one, other in pairs
        ]
    )
    assert same >= (1.0 if rebuilt.exact else 0.9)


def test_an_append_looks_up_no_embedding_of_what_did_not_change(shop: Settings) -> None:
    index, _ = build(shop, at_head(shop), MODEL)
    change(shop)
    DeltaTable(shop.embeddings_uri).delete(f"image_hash = '{row(0)['image_hash']}'")
    assert append(shop, index, at_head(shop))["added"] == 2
    with pytest.raises(RecsimError, match="1 of 301 images are not embedded"):
        build(shop, at_head(shop), MODEL)


def test_a_compacted_index_holds_the_same(shop: Settings) -> None:
    index, _ = build(shop, at_head(shop), MODEL)
    index.remove([f"p{number}" for number in range(0, PRODUCTS, 2)])
    compacted, counts = compact(shop, index)
    assert (counts["size"], contents(compacted)) == (PRODUCTS // 2, contents(index))
    assert compacted.items.column("row_key").to_pylist() == list(range(PRODUCTS // 2))


def test_maintenance_compacts_files_and_keeps_what_the_retention_covers(shop: Settings) -> None:
    for _ in range(4):
        change(shop)
    cursor, files = at_head(shop), len(DeltaTable(shop.products_uri).file_uris())
    before = contents(build(shop, cursor, MODEL)[0])
    result = maintain(shop)
    assert result.keys() == {"products", "embeddings"}
    assert (result["embeddings"]["files_compacted"] > 0, result["products"]["files_vacuumed"]) == (True, 0)
    assert len(DeltaTable(shop.products_uri).file_uris()) <= files
    assert contents(build(shop, cursor, MODEL)[0]) == before == contents(build(shop, at_head(shop), MODEL)[0])
