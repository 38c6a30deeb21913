"""Random histories of feeds on real Delta tables: after each, append equals rebuild."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.vectors.build import append, build
from recsim_tasks.vectors.consistency import Verification, verify
from recsim_tasks.vectors.index import Index
from vectors.test_build import PRODUCTS, SCHEMA, row, thumbnail_of, vector

FEEDS = 8
IMAGES = 600
FAULTED_EVERY = 50


class History:
    """A catalogue that changes by feeds, encoders for new images, and an index that is only appended to."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings, self.rng = settings, random.Random(seed)
        self.model = 0
        self.embedded: set[tuple[int, str]] = set()
        write_deltalake(
            settings.products_uri,
            self._table([row(n) for n in range(PRODUCTS)]),
            configuration={"delta.enableChangeDataFeed": "true"},
        )
        self._embed()
        self.index, _ = build(settings, self._head(), self._fingerprint())

    def feed(self) -> str:
        """Apply one feed of a random kind with one to forty products, and refresh; returns the kind."""
        kind = self.rng.choice(
            ["add", "replace", "delete", "relist", "price", "full again", "optimize", "other model"]
        )
        ids = self.rng.sample(range(PRODUCTS + 100), self.rng.randint(1, 40))
        if kind == "delete":
            DeltaTable(self.settings.products_uri).delete(
                f"product_id in ({', '.join(repr(f'p{n}') for n in ids)})"
            )
        elif kind == "optimize":
            DeltaTable(self.settings.products_uri).optimize.compact()
        elif kind == "other model":
            self.model += 1
        else:
            self._merge([self._row(kind, n) for n in (range(PRODUCTS) if kind == "full again" else ids)])
        self._embed()
        if kind == "other model":
            self.index, _ = build(self.settings, self._head(), self._fingerprint())
        else:
            append(self.settings, self.index, self._head())
        return kind

    def verified(self) -> Verification:
        """Compare the index with a rebuild."""
        return verify(self.settings, self.index, self._head())

    def _row(self, kind: str, number: int) -> dict[str, object]:
        if kind == "replace":
            return row(number, image=f"image {self.rng.randrange(IMAGES)}")
        return row(number, price=self.rng.random() if kind == "price" else 1.0)

    def _merge(self, rows: list[dict[str, object]]) -> None:
        merging = DeltaTable(self.settings.products_uri).merge(
            self._table(rows), "s.product_id = t.product_id", "s", "t"
        )
        merging.when_matched_update_all().when_not_matched_insert_all().execute()

    def _embed(self) -> None:
        """Embed new images; one in fifty has no vector."""
        reader = pa.RecordBatchReader.from_stream(
            DeltaTable(self.settings.products_uri).scan(columns=["image_hash"])
        )
        new = sorted(
            {
                name
                for name in reader.read_all()["image_hash"].to_pylist()
                if (self.model, name) not in self.embedded
            }
        )
        self.embedded |= {(self.model, name) for name in new}
        vectors = [None if int(name[:8], 16) % FAULTED_EVERY == 0 else self._vector(name) for name in new]
        columns = {
            "model_fingerprint": pa.array([self._fingerprint()] * len(new), pa.string()),
            "image_hash": pa.array(new, pa.string()),
        }
        thumbnails = pa.array([thumbnail_of(name) for name in new], pa.binary())
        table = pa.table(
            {**columns, "embedding": pa.array(vectors, pa.list_(pa.float32())), "thumbnail": thumbnails}
        )
        write_deltalake(
            self.settings.embeddings_uri, table, mode="append", partition_by=["model_fingerprint"]
        )

    def _vector(self, name: str) -> list[float]:
        rolled: list[float] = np.roll(np.array(vector(name), np.float32), self.model).tolist()
        return rolled

    def _fingerprint(self) -> str:
        return f"model-{self.model}"

    def _head(self) -> Cursor:
        cursor = head(self.settings.products_uri)
        assert cursor is not None
        return cursor

    @staticmethod
    def _table(rows: list[dict[str, Any]]) -> pa.Table:
        return pa.Table.from_pylist(rows, schema=SCHEMA)


@pytest.mark.parametrize("exact_below", ["100000", "50"], ids=["exact", "inverted lists"])
def test_after_any_history_of_feeds_append_equals_rebuild(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config, exact_below: str
) -> None:
    for seed in range(pytestconfig.getoption("--histories")):
        monkeypatch.setenv("RECSIM_INDEX_EXACT_BELOW", exact_below)
        monkeypatch.setenv("RECSIM_HOME", str(settings.home / str(seed)))
        history, past = History(load_settings(), seed), []
        for _ in range(FEEDS):
            past.append(history.feed())
            found = history.verified()
            assert found.same_contents, (seed, past, found)
            assert found.overlap >= (1.0 if exact_below == "100000" else 0.99 * found.rebuilt_overlap), (
                seed,
                past,
                found,
            )


def _spoil(index: Index, how: str) -> None:
    one = index.products.slice(3, 1).drop_columns(["row_key"])
    if how == "missing":
        index.remove(one["product_id"].to_pylist())
    elif how == "unexpected":
        index.upsert(one.set_column(0, "product_id", pa.array(["unknown"])), index.vectors_at([3]))
    elif how == "outdated":
        index.update(one.set_column(one.column_names.index("price"), "price", pa.array([-1.0])))
    elif how == "differing":
        index.upsert(one, np.nextafter(index.vectors_at([3]), np.float32(1)))
    else:
        index.upsert(
            one.set_column(
                one.column_names.index("thumbnail"), "thumbnail", index.products["thumbnail"].slice(4, 1)
            ),
            index.vectors_at([3]),
        )


@pytest.mark.parametrize("how", ["missing", "unexpected", "outdated", "differing", "differing thumbnail"])
def test_control_one_wrong_product_is_noticed(settings: Settings, how: str) -> None:
    """The control: one product, or the last bit of one vector."""
    history = History(settings, 0)
    assert history.verified().same_contents
    _spoil(history.index, how)
    found = history.verified()
    assert not found.same_contents
    assert getattr(found, how.split()[0]) == 1
