"""List the products of a release, or of one of its categories, in pages and in a random order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.arrays import Int64Array
from recsim_tasks.catalogue.schema import ANSWERED, ProductFields

if TYPE_CHECKING:
    import pyarrow as pa


class ProductListing:
    """The products of one release, grouped by category once."""

    def __init__(self, products: pa.Table) -> None:
        """Group `products`, one row each, as the index has them."""
        self._products = products.select(ANSWERED)
        encoded = products.column("category").combine_chunks().dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy()
        names: list[str] = encoded.dictionary.to_pylist()
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
        rows = {name: order[bounds[code] : bounds[code + 1]] for code, name in enumerate(names)}
        self._rows: dict[str, Int64Array] = {name: rows[name] for name in sorted(rows)}
        self.categories = {name: len(rows) for name, rows in self._rows.items() if name}
        """Number of products by category."""

    def page(self, category: str | None, *, size: int, seed: int, number: int) -> list[ProductFields]:
        """Return page `number`, from 0, of `size` products.

        The order is the same for one seed, and no product is on two pages.
        """
        every, none = np.arange(len(self._products)), np.empty(0, np.int64)
        rows = every if category is None else self._rows.get(category, none)
        chosen = np.random.default_rng(seed).permutation(rows)[number * size : (number + 1) * size]
        return list(self._products.take(chosen).to_pylist())
