"""Append against rebuild: nobody can tell an index that was appended to for months from one built anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recsim_tasks.arrays import Int64Array
from recsim_tasks.catalogue.delta.net_changes import compare, count_kinds
from recsim_tasks.catalogue.delta.reader import PRODUCT_FIELDS, read_products
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.build import build
from recsim_tasks.vectors.embeddings import faulted, read_embeddings
from recsim_tasks.vectors.index import Index
from recsim_tasks.vectors.recall import recall, without_own

# Of what a rebuild finds of the exact ten nearest, this must an index find that was appended to.
LEAST_OVERLAP = 0.99


@dataclass(frozen=True)
class Verification:
    """How an index differs from a rebuild on one version of the catalogue, and what of the exact ten nearest each of them finds."""

    size: int
    """Products of the index."""
    missing: int
    """Products that it lacks."""
    unexpected: int
    """Products that it has and the catalogue has not."""
    outdated: int
    """Products with other fields, or another picture."""
    compared: int
    """Products whose vector and thumbnail were compared with the embeddings table."""
    differing: int
    """Those that differ from it in any bit."""
    overlap: float
    """Share of the exact ten nearest that the index finds."""
    rebuilt_overlap: float
    """Share that a rebuild finds, or found when the index was built."""

    @property
    def whole(self) -> bool:
        """Whether it holds the products of the catalogue, as they are, and the vectors of the table."""
        return not (self.missing or self.unexpected or self.outdated or self.differing)

    @property
    def finds_as_much(self) -> bool:
        """Whether it finds what a rebuild finds, but for one in a hundred."""
        return self.overlap >= LEAST_OVERLAP * self.rebuilt_overlap

    def sentences(self) -> Iterator[str]:
        """What was found, for people."""
        yield (
            f"of {self.size:,} products {self.missing:,} are missing, {self.unexpected:,} are too many, {self.outdated:,} are outdated; "
            f"{self.differing:,} of {self.compared:,} vectors or thumbnails differ from the embeddings table."
        )
        yield f"it finds {self.overlap:.4f} of the exact ten nearest, a rebuild {self.rebuilt_overlap:.4f}; {LEAST_OVERLAP} of that is asked for."


def verify(settings: Settings, index: Index, cursor: Cursor) -> Verification:
    """Build the index of the catalogue at `cursor` anew, and compare: every product, every vector, and the neighbours of a sample."""
    rebuilt, _ = build(settings, cursor, index.metadata.model_fingerprint)
    overlaps = [overlap(one, settings.evaluation_queries) for one in (index, rebuilt)]
    return verification(settings, index, cursor, np.arange(len(index)), *overlaps)


def spread(count: int, most: int) -> Int64Array:
    """`most` of `count` rows, at even distances; all when they are fewer."""
    return np.linspace(0, count - 1, min(most, count)).astype(np.int64)


def verification(
    settings: Settings, index: Index, cursor: Cursor, rows: Int64Array, overlap: float, rebuilt_overlap: float
) -> Verification:
    """Compare the products of `index` with the catalogue at `cursor`, and vectors and thumbnails in `rows` with the embeddings table, bit for bit."""
    import pyarrow.compute as pc

    model = index.metadata.model_fingerprint
    products = read_products(settings.products_uri, cursor, list(PRODUCT_FIELDS))
    left_out = pc.is_in(products["image_hash"], value_set=faulted(settings.embeddings_uri, model))
    kinds = count_kinds(compare(index.items, products.filter(pc.invert(left_out))))
    expected = read_embeddings(settings.embeddings_uri, model, index.items["image_hash"].take(rows))
    same = (expected.vectors == index.vectors_at(rows)).all(axis=1) & expected.good
    same &= (expected.thumbnails == index.thumbnails_at(rows)).all(axis=1)
    return Verification(
        size=len(index),
        missing=kinds["insert"],
        unexpected=kinds["delete"],
        outdated=kinds["update"] + kinds["replace"],
        compared=len(rows),
        differing=int((~same).sum()),
        overlap=overlap,
        rebuilt_overlap=rebuilt_overlap,
    )


def overlap(index: Index, queries: int) -> float:
    """Share of the exact ten nearest that `index` finds, for `queries` of its products, chosen by their ids: another index is asked for the same."""
    import pyarrow.compute as pc

    if len(index) < 2:
        return 1.0
    rows = np.asarray(pc.sort_indices(index.items["product_id"]), np.int64)[spread(len(index), queries)]
    _, vectors = index.all_vectors()
    return recall(without_own(index, rows, vectors[rows]), rows, vectors)
