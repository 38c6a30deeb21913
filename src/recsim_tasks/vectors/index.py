"""The index: products and their embeddings, searchable; add, replace and remove by product id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from recsim_tasks.arrays import Float32Array, Int64Array, UInt8Array
from recsim_tasks.catalogue.schema import INDEXED, ProductFields
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.outages import outage_behind
from recsim_tasks.foundation.publishing import check_digests, digest_of, digests, publishing, write_json
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.vectors import faiss_store
from recsim_tasks.vectors.filters import Filters
from recsim_tasks.vectors.product_table import ProductTable
from recsim_tasks.vectors.search import Neighbours, Searcher
from recsim_tasks.vectors.validation import check_products, check_queries, check_vectors

RECEIPT = "index.json"
VECTORS_FILE = "vectors.faiss"
PRODUCTS_FILE = "items.arrow"


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
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read the form in `index.json`; `KeyError` or `TypeError` if a field is missing or unknown."""
        return cls(**{**value, "cursor": Cursor.from_json(value["cursor"])})


class Hit(NamedTuple):
    """One neighbour: a product and its cosine similarity to the query."""

    product_id: str
    score: float


class Index:
    """Products and their vectors under row keys, which are counted up and never reused.

    A product keeps its row key for as long as it is in the index. Only searches may run concurrently.
    """

    def __init__(
        self,
        vectors: faiss_store.FlatStore | faiss_store.IVFStore,
        products: ProductTable,
        metadata: IndexMetadata,
        next_key: int,
    ) -> None:
        self._vectors, self._products, self._next_key = vectors, products, next_key
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
        """Build an index of `products` (one row each) and their unit `vectors` float32 [n, d].

        A column `thumbnail` of `products` has the results of `thumbnails.thumbnail`; without it, no product
        is taken for a copy of another. Raises `InputError` when products or vectors are not valid.

        The index is exact when n is below `exact_below`; otherwise it compares as many vectors as it takes to
        reach `recall` of the ten nearest.
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
        return cls(store, ProductTable.of(products, keys), metadata, len(products))

    @classmethod
    def open(cls, folder: Path, *, writable: bool = False, checked: bool = False) -> Index:
        """Open the index in `folder`, mapped from its files for search, or loaded into memory if `writable`.

        Raises `InputError` when a file is missing, added or changed, and `UnavailableError` when this machine
        cannot read it now. Digests are checked before any library reads a file, here unless the caller has
        `checked` those of the whole release.
        """
        try:
            receipt = read_json(folder / RECEIPT)
            contents, next_key = receipt["digests"], receipt["next_key"]
            metadata = IndexMetadata.from_json(receipt["metadata"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            unreadable = InputError(
                f"{folder} has no readable index: {error}. Build it with `recsim index build`."
            )
            raise (outage_behind(error, str(folder)) or unreadable) from error
        if not checked:
            check_digests(folder, contents, leave_out=RECEIPT)
        vectors = faiss_store.read(folder / VECTORS_FILE, writable=writable)
        return cls(vectors, ProductTable.open(folder / PRODUCTS_FILE), metadata, next_key)

    def save(self, folder: Path) -> str:
        """Publish the index in `folder` atomically; returns its fingerprint, which covers every file."""
        with publishing(folder) as staged:
            self._vectors.write(staged / VECTORS_FILE)
            self._products.write(staged / PRODUCTS_FILE)
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
        """Add products, or replace existing ones; takes and raises what `build` does."""
        check_products(products)
        check_vectors(vectors, len(products), self._metadata.embedding_size)
        keys = self._products.keys_of(products.column("product_id").to_pylist())
        new = keys < 0
        keys[new] = np.arange(self._next_key, self._next_key + new.sum())
        self._vectors.put(vectors, keys)
        self._next_key += int(new.sum())
        self._products = self._products.put(products, keys)
        self._count_churn(len(keys))

    def update(self, products: pa.Table) -> None:
        """Replace the fields of existing products; ignore unknown ones. Vectors and thumbnails stay."""
        keys = self._products.keys_of(products.column("product_id").to_pylist())
        self._products = self._products.update(products.filter(keys >= 0), keys[keys >= 0])

    def remove(self, product_ids: list[str]) -> int:
        """Remove products; ignore unknown ones. Returns how many were removed."""
        keys = self._products.keys_of(product_ids)
        keys = keys[keys >= 0]
        self._vectors.remove(keys)
        self._products = self._products.drop(keys)
        self._count_churn(len(keys))
        return len(keys)

    def search(
        self, queries: Float32Array, k: int, filters: Filters | None = None, distinct: bool = False
    ) -> list[list[Hit]]:
        """Search like `neighbours`, and return product ids."""
        neighbours = self.neighbours(queries, k, filters, distinct)
        valid = neighbours.positions >= 0
        ids, counts = iter(self._products.ids_at(neighbours.positions[valid])), valid.sum(axis=1).tolist()
        return [
            list(map(Hit, islice(ids, count), scores))
            for count, scores in zip(counts, neighbours.scores.tolist(), strict=True)
        ]

    def neighbours(
        self, queries: Float32Array, k: int, filters: Filters | None = None, distinct: bool = False
    ) -> Neighbours:
        """Find the `k` nearest products by cosine for each of unit `queries` float32 [q, d], best first.

        All `k` are found when at least `k` products match `filters`. Ties are broken by product id. With
        `distinct`, only the nearest of products whose images are copies of each other is kept (`thumbnails`).
        Both apply to the 10,000 nearest that match. Raises `InputError` when k is below 1, or the queries
        have another size than the index's vectors.
        """
        check_queries(queries, k, self._metadata.embedding_size)
        return Searcher(self._vectors, self._products, filters or Filters(), distinct).search(
            np.ascontiguousarray(queries, np.float32), k
        )

    def vector(self, product_id: str) -> Float32Array:
        """Return the embedding of a product, float32 [d]; `InputError` when it is not in the index."""
        return self._vectors.get(np.array([self._products.key_of(product_id)], np.int64)).reshape(-1)

    def vectors_at(self, positions: Sequence[int] | np.ndarray[Any, Any]) -> Float32Array:
        """Return the embeddings float32 [n, d] of the products at `positions` (rows of `products`)."""
        return self._vectors.get(self._products.row_keys[np.asarray(positions, np.int64)])

    def thumbnails_at(self, positions: Int64Array) -> UInt8Array:
        """Return the thumbnails uint8 [n, 147] of the products at `positions`; zeros where unknown."""
        return self._products.thumbnails[positions]

    def all_vectors(self) -> tuple[list[str], Float32Array]:
        """Return all product ids and their embeddings float32 [n, d], in the order of `products`."""
        return self.products.column("product_id").to_pylist(), self._vectors.get(self._products.row_keys)

    def product(self, product_id: str) -> ProductFields:
        """Return the fields of a product; `InputError` when it is not in the index."""
        return self._products.rows(
            self._products.positions(np.array([self._products.key_of(product_id)])), INDEXED
        )[0]

    def products_at(self, positions: Int64Array, fields: Sequence[str]) -> list[ProductFields]:
        """Return these fields of the products at `positions` [n]."""
        return self._products.rows(positions, fields)

    @property
    def products(self) -> pa.Table:
        """One row per product: `row_key`, its fields and `thumbnail`, ordered by key."""
        return self._products.table

    @property
    def exact(self) -> bool:
        """Whether a search compares every vector."""
        return isinstance(self._vectors, faiss_store.FlatStore)

    @property
    def imbalance(self) -> float:
        """How many more vectors a search compares than with lists of equal length; 1 for an exact index."""
        return self._vectors.imbalance

    def __len__(self) -> int:
        return len(self._products)

    def _count_churn(self, count: int) -> None:
        self._metadata = replace(self._metadata, churn=self._metadata.churn + count)
