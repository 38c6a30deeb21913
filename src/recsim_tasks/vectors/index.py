"""The index: products and their embeddings, searchable; add, replace and remove by product id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from recsim_tasks.arrays import Float32Array, Int64Array, UInt8Array
from recsim_tasks.catalogue.delta.reader import PRODUCT_FIELDS
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import check_digests, digest_of, digests, publishing, write_json
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.vectors import faiss_store
from recsim_tasks.vectors.filters import Filters
from recsim_tasks.vectors.product_table import Items
from recsim_tasks.vectors.search import Found, Searcher
from recsim_tasks.vectors.validation import check_products, check_queries, check_vectors

RECEIPT = "index.json"
VECTORS_FILE = "vectors.faiss"
ITEMS_FILE = "items.arrow"


@dataclass(frozen=True)
class IndexOrigin:
    """What an index is made from."""

    model_fingerprint: str
    """The encoder of its embeddings."""
    cursor: Cursor
    """The version of the catalogue that it reflects."""


@dataclass(frozen=True)
class IndexMetadata(IndexOrigin):
    """What an index is made from, and how it has changed since it was built."""

    embedding_size: int
    built: int
    """Number of products when the index was built."""
    built_recall: float
    """Share of the exact ten nearest neighbours that it found when it was built."""
    built_imbalance: float
    """How unequal its lists were when it was built; 1 for lists of one length."""
    churn: int = 0
    """Products added, replaced and removed since it was built."""
    index_fingerprint: str = ""
    """Covers every file; empty until the index is saved."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read the form that `index.json` carries; `KeyError` or `TypeError` if a field is missing or unknown."""
        return cls(**{**value, "cursor": Cursor.from_json(value["cursor"])})


class Hit(NamedTuple):
    """One neighbour: a product and its cosine similarity to the query."""

    product_id: str
    score: float


class Index:
    """Products under row keys of our own, counted up and never used twice, so that two ids cannot collide.

    A product keeps its row key for as long as it is here. Searches may run side by side; nothing else may.
    """

    def __init__(
        self,
        vectors: faiss_store.Flat | faiss_store.InvertedLists,
        items: Items,
        metadata: IndexMetadata,
        next_key: int,
    ) -> None:
        self._vectors, self._items, self._next_key = vectors, items, next_key
        self._metadata = metadata

    @property
    def metadata(self) -> IndexMetadata:
        """What the index is made from, and how it has changed since it was built."""
        return self._metadata

    @classmethod
    def build(
        cls,
        products: pa.Table,
        vectors: Float32Array,
        origin: IndexOrigin,
        exact_below: int,
        recall: float = 0.99,
    ) -> Index:
        """A new index of `products` (their fields, a row each) and their unit `vectors` float32 [n, d]; `InputError` when they are not that.

        A column `thumbnail` of `products` has what `thumbnails.thumbnail` gives; without it no product is the copy of another.

        It is exact when n is below `exact_below`, else it looks at as much as it takes to find `recall` of the ten nearest.
        """
        check_products(products)
        check_vectors(vectors, len(products), None)
        keys = np.arange(len(products), dtype=np.int64)
        store = faiss_store.create(np.ascontiguousarray(vectors, np.float32), keys, exact_below, recall)
        metadata = IndexMetadata(
            model_fingerprint=origin.model_fingerprint,
            cursor=origin.cursor,
            embedding_size=int(vectors.shape[1]),
            built=len(products),
            built_recall=store.built_recall,
            built_imbalance=store.imbalance,
        )
        return cls(store, Items.of(products, keys), metadata, len(products))

    @classmethod
    def open(cls, folder: Path, *, writable: bool = False, checked: bool = False) -> Index:
        """The index published in `folder`, mapped from its files to be searched, or in memory when it shall be changed.

        Raises `InputError` when a file is missing, added or changed: the digests are checked before a library sees one, here unless
        whoever opens a whole release has `checked` them.
        """
        try:
            receipt = read_json(folder / RECEIPT)
            contents, next_key = receipt["digests"], receipt["next_key"]
            metadata = IndexMetadata.from_json(receipt["metadata"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder} holds no index: {error}. Build it with `recsim index build`."
            ) from error
        if not checked:
            check_digests(folder, contents, leave_out=RECEIPT)
        vectors = faiss_store.read(folder / VECTORS_FILE, writable)
        return cls(vectors, Items.open(folder / ITEMS_FILE), metadata, next_key)

    def save(self, folder: Path) -> str:
        """Publish the index as files in `folder`, in one step; returns its fingerprint, which covers every file."""
        with publishing(folder) as staged:
            self._vectors.write(staged / VECTORS_FILE)
            self._items.write(staged / ITEMS_FILE)
            contents = digests(staged)
            fingerprint = digest_of(contents)
            self._metadata = replace(self._metadata, index_fingerprint=fingerprint)
            receipt = {
                "metadata": asdict(self._metadata),
                "next_key": self._next_key,
                "digests": contents,
            }
            write_json(staged / RECEIPT, receipt)
        return fingerprint

    def advance(self, cursor: Cursor) -> None:
        """Record that the index now reflects the catalogue at `cursor`."""
        self._metadata = replace(self._metadata, cursor=cursor)

    def upsert(self, products: pa.Table, vectors: Float32Array) -> None:
        """Add products, or replace those that are there, with all that `build` takes; `InputError` as there."""
        check_products(products)
        check_vectors(vectors, len(products), self._metadata.embedding_size)
        keys = self._items.keys_of(products.column("product_id").to_pylist())
        new = keys < 0
        keys[new] = np.arange(self._next_key, self._next_key + new.sum())
        self._vectors.put(vectors, keys)
        self._next_key += int(new.sum())
        self._items = self._items.put(products, keys)
        self._count_churn(len(keys))

    def update(self, products: pa.Table) -> None:
        """Replace the fields of products that are there, and pass over others; vectors and thumbnails stay."""
        keys = self._items.keys_of(products.column("product_id").to_pylist())
        self._items = self._items.update(products.filter(keys >= 0), keys[keys >= 0])

    def remove(self, product_ids: list[str]) -> int:
        """Take products out; one that is not there is passed over. Returns how many were there."""
        keys = self._items.keys_of(product_ids)
        keys = keys[keys >= 0]
        self._vectors.remove(keys)
        self._items = self._items.drop(keys)
        self._count_churn(len(keys))
        return len(keys)

    def search(
        self, queries: Float32Array, k: int, filters: Filters | None = None, distinct: bool = False
    ) -> list[list[Hit]]:
        """`neighbours`, each with its product's id."""
        found = self.neighbours(queries, k, filters, distinct)
        there = found.positions >= 0
        ids, counts = iter(self._items.ids_at(found.positions[there])), there.sum(axis=1).tolist()
        return [
            list(map(Hit, islice(ids, count), scores))
            for count, scores in zip(counts, found.scores.tolist(), strict=True)
        ]

    def neighbours(
        self, queries: Float32Array, k: int, filters: Filters | None = None, distinct: bool = False
    ) -> Found:
        """The `k` nearest products by cosine for each of unit `queries` float32 [q, d], best first; `k` of them when `k` pass `filters`.

        Equal scores come in the order of the product ids. Of products whose images are copies of each other `distinct` leaves only the
        nearest (`thumbnails`); both among the 10,000 nearest that pass. `InputError` when k is below 1, or the queries have another size
        than the index's vectors.
        """
        check_queries(queries, k, self._metadata.embedding_size)
        return Searcher(self._vectors, self._items, filters or Filters(), distinct).search(
            np.ascontiguousarray(queries, np.float32), k
        )

    def vector(self, product_id: str) -> Float32Array:
        """The embedding of a product, float32 [d]; `InputError` when it is not in the index."""
        return self._vectors.get(np.array([self._items.key_of(product_id)], np.int64)).reshape(-1)

    def vectors_at(self, positions: Sequence[int] | np.ndarray[Any, Any]) -> Float32Array:
        """The embeddings float32 [n, d] of the products in these rows of `items`."""
        return self._vectors.get(self._items.row_keys[np.asarray(positions, np.int64)])

    def thumbnails_at(self, positions: Int64Array) -> UInt8Array:
        """Read the thumbnails uint8 [n, 147] of the products in these rows of `items`; zeros where none is known."""
        return self._items.thumbnails[positions]

    def all_vectors(self) -> tuple[list[str], Float32Array]:
        """All product ids and their embeddings float32 [n, d], in the order of `items`."""
        return self.items.column("product_id").to_pylist(), self._vectors.get(self._items.row_keys)

    def product(self, product_id: str) -> dict[str, Any]:
        """The fields of a product; `InputError` when it is not in the index."""
        return self._items.rows(
            self._items.positions(np.array([self._items.key_of(product_id)])), PRODUCT_FIELDS
        )[0]

    def products_at(self, positions: Int64Array, fields: Sequence[str]) -> list[dict[str, Any]]:
        """These fields of the products at `positions` [n]."""
        return self._items.rows(positions, fields)

    @property
    def items(self) -> pa.Table:
        """`row_key`, the products' fields and `thumbnail`, a row each, ordered by key."""
        return self._items.table

    @property
    def exact(self) -> bool:
        """Whether a search looks at every vector."""
        return isinstance(self._vectors, faiss_store.Flat)

    @property
    def imbalance(self) -> float:
        """How much more a search looks at than it would if all lists had one length: 1 for an exact index."""
        return self._vectors.imbalance

    def __len__(self) -> int:
        return len(self._items)

    def _count_churn(self, count: int) -> None:
        self._metadata = replace(self._metadata, churn=self._metadata.churn + count)
