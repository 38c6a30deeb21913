"""Compare an appended index with a rebuild: both must have the same contents and find as much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recsim_tasks.arrays import Int64Array
from recsim_tasks.catalogue.delta.net_changes import compare, count_kinds
from recsim_tasks.catalogue.delta.reader import read_products
from recsim_tasks.catalogue.schema import INDEXED
from recsim_tasks.contracts import Cursor, RebuildComparison
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.build import build
from recsim_tasks.vectors.embeddings import read_embeddings, unembeddable_hashes
from recsim_tasks.vectors.index import Index
from recsim_tasks.vectors.recall import mean_recall, neighbours_without_self

# The recall of an appended index, divided by that of a rebuild, must be at least this.
MIN_RELATIVE_RECALL = 0.99


class Verification(RebuildComparison):
    """How an index differs from a rebuild, and whether that is acceptable."""

    @property
    def same_contents(self) -> bool:
        """Whether the index contains the catalogue's products and the embeddings table's vectors."""
        return not (self.missing or self.unexpected or self.outdated or self.differing)

    @property
    def recall_preserved(self) -> bool:
        """Whether the recall is at least 99% of a rebuild's."""
        return self.overlap >= MIN_RELATIVE_RECALL * self.rebuilt_overlap

    def sentences(self) -> Iterator[str]:
        """Describe the comparison for people."""
        yield (
            f"Of {self.size:,} products, {self.missing:,} are missing, {self.unexpected:,} unexpected and "
            f"{self.outdated:,} outdated; {self.differing:,} of {self.compared:,} vectors or thumbnails "
            "differ from the embeddings table."
        )
        yield (
            f"Recall@10 is {self.overlap:.4f}, that of a rebuild {self.rebuilt_overlap:.4f}; "
            f"at least {MIN_RELATIVE_RECALL} of it is required."
        )


def verify(settings: Settings, index: Index, cursor: Cursor) -> Verification:
    """Rebuild the index at `cursor`; compare every product, every vector, and the neighbours of a sample."""
    rebuilt, _ = build(settings, cursor, index.metadata.model_fingerprint)
    recalls = Recalls(*(overlap(one, settings.evaluation_queries) for one in (index, rebuilt)))
    return verification(settings, index, cursor, np.arange(len(index)), recalls)


def evenly_spaced(count: int, limit: int) -> Int64Array:
    """Choose `limit` of `count` rows at even distances; all rows when there are fewer."""
    return np.linspace(0, count - 1, min(limit, count)).astype(np.int64)


class Recalls(NamedTuple):
    """The recall@10 of an index and of its rebuild."""

    own: float
    rebuilt: float


def verification(
    settings: Settings, index: Index, cursor: Cursor, rows: Int64Array, recalls: Recalls
) -> Verification:
    """Compare the products of `index` with the catalogue at `cursor`.

    Vectors and thumbnails in `rows` are compared with the embeddings table, bit for bit.
    """
    import pyarrow.compute as pc

    model = index.metadata.model_fingerprint
    products = read_products(settings.products_uri, cursor, list(INDEXED))
    left_out = pc.is_in(products["image_hash"], value_set=unembeddable_hashes(settings.embeddings_uri, model))
    kinds = count_kinds(compare(index.products, products.filter(pc.invert(left_out))))
    expected = read_embeddings(settings.embeddings_uri, model, index.products["image_hash"].take(rows))
    same = (expected.vectors == index.vectors_at(rows)).all(axis=1) & expected.valid
    same &= (expected.thumbnails == index.thumbnails_at(rows)).all(axis=1)
    return Verification(
        size=len(index),
        missing=kinds["insert"],
        unexpected=kinds["delete"],
        outdated=kinds["update"] + kinds["replace"],
        compared=len(rows),
        differing=int((~same).sum()),
        overlap=recalls.own,
        rebuilt_overlap=recalls.rebuilt,
    )


def overlap(index: Index, queries: int) -> float:
    """Measure the recall@10 of `index` with `queries` of its own products.

    They are chosen by their ids, so that another index of the same products gets the same queries.
    """
    import pyarrow.compute as pc

    if len(index) < 2:
        return 1.0
    by_id = np.asarray(pc.sort_indices(index.products["product_id"]), np.int64)
    rows = by_id[evenly_spaced(len(index), queries)]
    _, vectors = index.all_vectors()
    return mean_recall(neighbours_without_self(index, rows, vectors[rows]), rows, vectors)
