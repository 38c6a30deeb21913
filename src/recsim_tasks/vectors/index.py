"""The index: products and their embeddings, searchable; add, replace and remove by product id."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import check_digests, digest_of, digests, publishing, write_json
from recsim_tasks.vectors import library
from recsim_tasks.vectors.exact import Floats, Rows
from recsim_tasks.vectors.filters import Filters, passing
from recsim_tasks.vectors.items import Items

RECEIPT = "index.json"
VECTORS_FILE = "vectors.faiss"
ITEMS_FILE = "items.parquet"


@dataclass(frozen=True)
class Hit:
    """One neighbour: a product and its cosine similarity to the query."""

    product_id: str
    score: float


class Index:
    """Products under row keys of our own, counted up and never used twice, so that two ids cannot collide."""

    def __init__(self, vectors: Any, items: Items, metadata: dict[str, Any], next_key: int) -> None:
        self._vectors, self._items, self._next_key = vectors, items, next_key
        self.metadata = metadata

    @classmethod
    def build(cls, products: pa.Table, vectors: Floats, metadata: dict[str, Any], exact_below: int) -> Index:
        """A new index of `products` (their fields, a row each) and their `vectors` float32 [n, d], L2-normalised.

        Its metadata has, beside what is given, `embedding_size`, how many products it was `built` of, and the `churn` since: products
        added, replaced and removed.
        """
        keys = np.arange(len(products), dtype=np.int64)
        metadata = {**metadata, "embedding_size": int(vectors.shape[1]), "built": len(products), "churn": 0}
        built = library.create(np.ascontiguousarray(vectors, np.float32), keys, exact_below)
        return cls(built, Items.of(products, keys), metadata, len(products))

    @classmethod
    def open(cls, folder: Path) -> Index:
        """The index published in `folder`; `InputError` when a file is missing, added or changed."""
        try:
            receipt = json.loads((folder / RECEIPT).read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} holds no index: {error}. Build it with `recsim index build`.") from error
        check_digests(folder, receipt["digests"], leave_out=RECEIPT)
        items = Items(pq.read_table(folder / ITEMS_FILE))
        return cls(library.read(folder / VECTORS_FILE), items, receipt["metadata"], receipt["next_key"])

    def save(self, folder: Path, **metadata: Any) -> str:
        """Publish the index as files in `folder`, in one step; returns its fingerprint, which covers every file."""
        with publishing(folder) as staged:
            library.write(self._vectors, staged / VECTORS_FILE)
            pq.write_table(self.items, staged / ITEMS_FILE)
            contents = digests(staged)
            fingerprint = digest_of(contents)
            self.metadata = {**self.metadata, **metadata, "index_fingerprint": fingerprint}
            write_json(staged / RECEIPT, {"metadata": self.metadata, "next_key": self._next_key, "digests": contents})
        return fingerprint

    def upsert(self, products: pa.Table, vectors: Floats) -> None:
        """Add products, or replace those that are there, with all their fields and `vectors` float32 [n, d]."""
        keys = self._items.keys_of(products.column("product_id").to_pylist())
        new = keys < 0
        keys[new] = np.arange(self._next_key, self._next_key + new.sum())
        self._next_key += int(new.sum())
        library.replace(self._vectors, np.ascontiguousarray(vectors, np.float32), keys)
        self._count_churn(keys)
        self._items = self._items.put(products, keys)

    def update(self, products: pa.Table) -> None:
        """Replace the fields of products that are there; their vectors stay."""
        self._items = self._items.put(products, self._items.keys_of(products.column("product_id").to_pylist()))

    def remove(self, product_ids: list[str]) -> int:
        """Take products out; one that is not there is passed over. Returns how many were there."""
        keys = self._items.keys_of(product_ids)
        keys = keys[keys >= 0]
        library.remove(self._vectors, keys)
        self._count_churn(keys)
        self._items = self._items.drop(keys)
        return len(keys)

    def search(self, queries: Floats, k: int, filters: Filters | None = None) -> list[list[Hit]]:
        """The `k` nearest products by cosine for each of `queries` float32 [q, d], best first; `k` of them when `k` pass the filters.

        Equal scores come in the order of the product ids.
        """
        among = None if filters is None or filters == Filters() else passing(self.items, filters).column("row_key").to_numpy()
        k = min(k, len(self) if among is None else len(among))
        if k == 0:
            return [[] for _ in queries]
        scores, keys = library.search(self._vectors, queries, k, among)
        return [self._hits(*row) for row in zip(scores, keys, strict=True)]

    def vector(self, product_id: str) -> Floats:
        """The embedding of a product, float32 [d]; `InputError` when it is not in the index."""
        key = self._items.key_of(product_id)
        return library.vectors_of(self._vectors, np.array([key], np.int64), self.metadata["embedding_size"]).reshape(-1)

    def all_vectors(self) -> tuple[list[str], Floats]:
        """All product ids and their embeddings float32 [n, d], in the order of `items`."""
        keys = self.items.column("row_key").to_numpy()
        return self.items.column("product_id").to_pylist(), library.vectors_of(self._vectors, keys, self.metadata["embedding_size"])

    def product(self, product_id: str) -> dict[str, Any]:
        """The fields of a product; `InputError` when it is not in the index."""
        return self._items.row(self._items.key_of(product_id))

    @property
    def items(self) -> pa.Table:
        """`row_key` and the products' fields, a row each, ordered by key."""
        return self._items.table

    @property
    def exact(self) -> bool:
        """Whether a search looks at every vector."""
        return library.is_exact(self._vectors)

    def __len__(self) -> int:
        return len(self._items.table)

    def _count_churn(self, keys: Rows) -> None:
        self.metadata = {**self.metadata, "churn": self.metadata["churn"] + len(keys)}

    def _hits(self, scores: Floats, keys: Rows) -> list[Hit]:
        found = keys >= 0
        names = self._items.ids_of(keys[found])
        hits = [Hit(name, float(score)) for name, score in zip(names, scores[found], strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.product_id))
