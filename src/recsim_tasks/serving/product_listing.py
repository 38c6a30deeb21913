"""Products to start from: a page of all of a release, or of one category, in an order that a seed decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_tasks.arrays import Int64Array
from recsim_tasks.catalogue.schema import ANSWERED

if TYPE_CHECKING:
    import pyarrow as pa


class Shelf:
    """The products of one release, sorted into categories once."""

    def __init__(self, items: pa.Table) -> None:
        """`items` are the index's, a row a product."""
        self._items = items.select(ANSWERED)
        coded = items.column("category").combine_chunks().dictionary_encode()
        codes = coded.indices.fill_null(-1).to_numpy()
        names: list[str] = coded.dictionary.to_pylist()
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
        rows = {name: order[bounds[code] : bounds[code + 1]] for code, name in enumerate(names)}
        self._rows: dict[str, Int64Array] = {name: rows[name] for name in sorted(rows)}
        self.categories = {name: len(rows) for name, rows in self._rows.items() if name}
        """How many products each category has, by name."""

    def page(self, count: int, category: str | None, seed: int, number: int) -> list[dict[str, Any]]:
        """Page `number`, from 0, of `count` products; the same for one seed, and no product on two pages."""
        rows = (
            np.arange(len(self._items))
            if category is None
            else self._rows.get(category, np.empty(0, np.int64))
        )
        chosen = np.random.default_rng(seed).permutation(rows)[number * count : (number + 1) * count]
        return list(self._items.take(chosen).to_pylist())
