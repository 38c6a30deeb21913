"""The products of an index: their fields by row key, their row keys by product id."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsim_tasks.catalogue.table import PRODUCT_FIELDS
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.vectors.exact import Rows


class Items:
    """An Arrow table of `row_key` (int64, ascending) and `PRODUCT_FIELDS`; never changed, only replaced."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()

    @classmethod
    def of(cls, products: pa.Table, keys: Rows) -> Items:
        """`products` under `keys`."""
        return cls(_keyed(products, keys))

    def put(self, products: pa.Table, keys: Rows) -> Items:
        """With `products` under `keys`, in place of what these keys held."""
        kept = self.drop(keys).table
        added = _keyed(products, keys).cast(kept.schema)
        return Items(pa.concat_tables([kept, added]).sort_by("row_key"))

    def drop(self, keys: Rows) -> Items:
        """Without what `keys` hold."""
        return Items(self.table.filter(pc.invert(pc.is_in(self.table.column("row_key"), pa.array(keys, pa.int64())))))

    def keys_of(self, product_ids: list[str]) -> Rows:
        """The row keys of `product_ids`, int64 [n]; -1 for a product that is not here."""
        return np.array([self._keys.get(name, -1) for name in product_ids], np.int64)

    def key_of(self, product_id: str) -> int:
        """The row key of one product; `InputError` when it is not here."""
        try:
            return self._keys[product_id]
        except KeyError as error:
            raise InputError(
                f"Product {product_id!r} is not in this release. Look up the id, or refresh after its feed was taken in."
            ) from error

    def ids_of(self, keys: Rows) -> list[str]:
        """The product ids under `keys`, all of which must be here."""
        names: list[str] = self.table.column("product_id").take(pa.array(self._positions(keys))).to_pylist()
        return names

    def row(self, key: int) -> dict[str, Any]:
        """The fields of the product under `key`."""
        position = int(self._positions(np.array([key]))[0])
        row: dict[str, Any] = self.table.slice(position, 1).to_pylist()[0]
        return {name: row[name] for name in PRODUCT_FIELDS}

    def _positions(self, keys: Rows) -> Rows:
        return np.searchsorted(self._row_keys, keys)

    @cached_property
    def _row_keys(self) -> Rows:
        return np.asarray(self.table.column("row_key").to_numpy())

    @cached_property
    def _keys(self) -> dict[str, int]:
        return dict(zip(self.table.column("product_id").to_pylist(), self._row_keys.tolist(), strict=True))


def _keyed(products: pa.Table, keys: Rows) -> pa.Table:
    return products.select(PRODUCT_FIELDS).add_column(0, "row_key", pa.array(keys, pa.int64()))
