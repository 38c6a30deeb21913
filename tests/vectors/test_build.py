"""Append against rebuild, on real Delta tables."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from recsim_tasks.catalogue.delta.compaction import maintain
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.contracts import Cursor, IndexCounts
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.vectors.build import append, build, compact
from recsim_tasks.vectors.index import Index
from recsim_tasks.vectors.thumbnails import THUMBNAIL_BYTES

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
    image = hashlib.sha256((image or f"image {number}").encode()).hexdigest()
    return {
        "product_id": f"p{number}",
        "title": f"t{number}",
        "category": f"c{number % 3}",
        "price": price,
        "in_stock": True,
        "image_hash": image,
    }


def vector(image_hash: str) -> list[float]:
    """The embedding of this image."""
    drawn = np.random.default_rng(int(image_hash[:12], 16)).normal(size=DIMENSIONS).astype(np.float32)
    embedding: list[float] = (drawn / np.linalg.norm(drawn)).tolist()
    return embedding


def thumbnail_of(image_hash: str) -> bytes:
    """The thumbnail of this image."""
    return (
        np.random.default_rng(int(image_hash[:12], 16))
        .integers(1, 250, THUMBNAIL_BYTES)
        .astype(np.uint8)
        .tobytes()
    )


def embed(settings: Settings, rows: list[dict[str, object]]) -> None:
    hashes = [str(row["image_hash"]) for row in rows]
    columns = {
        "model_fingerprint": [MODEL] * len(rows),
        "image_hash": hashes,
        "embedding": pa.array([vector(h) for h in hashes], pa.list_(pa.float32())),
        "thumbnail": pa.array([thumbnail_of(h) for h in hashes], pa.binary()),
    }
    write_deltalake(
        settings.embeddings_uri, pa.table(columns), mode="append", partition_by=["model_fingerprint"]
    )


@pytest.fixture(params=["100000", "50"], ids=["exact", "inverted lists"])
def indexed(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
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
    fields = {row["product_id"]: row for row in index.products.drop(["row_key"]).to_pylist()}
    return {
        name: (*fields[name].values(), *vector.tolist()) for name, vector in zip(ids, vectors, strict=True)
    }


def test_append_and_rebuild_give_the_same_contents(indexed: Settings) -> None:
    appended, _ = build(indexed, at_head(indexed), MODEL)
    change(indexed)
    counts = append(indexed, appended, at_head(indexed))
    rebuilt, _ = build(indexed, at_head(indexed), MODEL)
    assert counts == IndexCounts(size=PRODUCTS + 1, added=2, replaced=1, removed=1)
    assert contents(appended) == contents(rebuilt)
    assert appended.metadata.cursor == rebuilt.metadata.cursor == at_head(indexed)


def test_append_and_rebuild_give_the_same_neighbours(indexed: Settings) -> None:
    appended, _ = build(indexed, at_head(indexed), MODEL)
    change(indexed)
    append(indexed, appended, at_head(indexed))
    rebuilt, _ = build(indexed, at_head(indexed), MODEL)
    queries = rebuilt.all_vectors()[1]
    pairs = zip(appended.search(queries, 10), rebuilt.search(queries, 10), strict=True)
    same = np.mean(
        [
            len({hit.product_id for hit in one} & {hit.product_id for hit in other}) / 10
            for one, other in pairs
        ]
    )
    assert same >= (1.0 if rebuilt.exact else 0.9)


def test_append_reads_no_embedding_of_an_unchanged_product(indexed: Settings) -> None:
    index, _ = build(indexed, at_head(indexed), MODEL)
    change(indexed)
    DeltaTable(indexed.embeddings_uri).delete(f"image_hash = '{row(0)['image_hash']}'")
    assert append(indexed, index, at_head(indexed)).added == 2
    with pytest.raises(RecsimError, match="1 of 301 images are not embedded"):
        build(indexed, at_head(indexed), MODEL)


def test_compaction_keeps_the_contents(indexed: Settings) -> None:
    index, _ = build(indexed, at_head(indexed), MODEL)
    index.remove([f"p{number}" for number in range(0, PRODUCTS, 2)])
    compacted, counts = compact(indexed, index)
    assert (counts.size, contents(compacted)) == (PRODUCTS // 2, contents(index))
    assert compacted.products.column("row_key").to_pylist() == list(range(PRODUCTS // 2))


def test_maintenance_compacts_files_and_keeps_versions_within_the_retention(indexed: Settings) -> None:
    for _ in range(4):
        change(indexed)
    cursor, files = at_head(indexed), len(DeltaTable(indexed.products_uri).file_uris())
    before = contents(build(indexed, cursor, MODEL)[0])
    result = maintain(indexed)
    assert result.keys() == {"products", "embeddings"}
    assert (result["embeddings"]["files_compacted"] > 0, result["products"]["files_vacuumed"]) == (True, 0)
    assert len(DeltaTable(indexed.products_uri).file_uris()) <= files
    assert (
        contents(build(indexed, cursor, MODEL)[0])
        == before
        == contents(build(indexed, at_head(indexed), MODEL)[0])
    )
