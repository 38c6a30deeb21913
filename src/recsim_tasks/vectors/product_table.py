"""The products of an index: their fields by row key, their row keys by product id; in a file that is mapped, not read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsim_tasks.arrays import BoolArray, Int64Array, UInt8Array
from recsim_tasks.catalogue.schema import INDEXED
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.vectors.thumbnails import BYTES

# Position of the product that comes n-th when they are sorted by id: finds one by bisection, and breaks ties.
BY_ID = "by_id"
THUMBNAIL = "thumbnail"
# Up to so many, one by one is faster than all at once.
FEW = 100


class Items:
    """An Arrow table of `row_key` (int64, ascending), `INDEXED` and `thumbnail`; never changed, only replaced.

    A position is a row of this table. Products keep their order, and so do ties, however the table came about.
    """

    def __init__(self, table: pa.Table, by_id: Int64Array | None = None) -> None:
        self.table = table
        self._sorted = by_id

    @classmethod
    def of(cls, products: pa.Table, keys: Int64Array) -> Items:
        """`products` under `keys`, which ascend."""
        return cls(_keyed(products, keys).combine_chunks())

    @classmethod
    def open(cls, path: Path) -> Items:
        """The table in `path`, of which only what is looked at comes into memory."""
        with pa.memory_map(str(path)) as file:
            stored = pa.ipc.open_file(file).read_all()
        return cls(stored.drop_columns([BY_ID]), stored.column(BY_ID).to_numpy())

    def write(self, path: Path) -> None:
        """Write the table, with the order of its ids, as an Arrow file of one batch."""
        stored = self.table.append_column(BY_ID, pa.array(self.by_id)).combine_chunks()
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, stored.schema) as writer:
            writer.write_table(stored, max_chunksize=max(len(stored), 1))

    def put(self, products: pa.Table, keys: Int64Array) -> Items:
        """With `products` under `keys`, in place of what these keys held; keys that are new are larger than all others, and ascend."""
        both = pa.concat_tables([self.table, _keyed(products, keys).cast(self.table.schema)])
        new = keys > (self.row_keys[-1] if len(self) else -1)
        if new.all():
            return Items(both.combine_chunks())
        take = np.arange(len(self) + int(new.sum()))
        added = np.arange(len(self), len(both))
        take[self.positions(keys[~new])] = added[~new]
        take[len(self) :] = added[new]
        return Items(both.take(pa.array(take)).combine_chunks())

    def update(self, products: pa.Table, keys: Int64Array) -> Items:
        """Replace the fields of the products under `keys`, all of which must be here; their thumbnails stay."""
        thumbnails = self.table.column(THUMBNAIL).take(pa.array(self.positions(keys)))
        return self.put(products.select(INDEXED).append_column(THUMBNAIL, thumbnails), keys)

    def drop(self, keys: Int64Array) -> Items:
        """Without what `keys` hold."""
        kept = np.ones(len(self), bool)
        kept[self.positions(keys)] = False
        return Items(self.table.filter(pa.array(kept)).combine_chunks())

    def keys_of(self, product_ids: list[str]) -> Int64Array:
        """The row keys of `product_ids`, int64 [n]; -1 for a product that is not here."""
        if len(product_ids) <= FEW:
            return np.array([self._key_of(name) for name in product_ids], np.int64)
        found = pc.index_in(pa.array(product_ids, pa.string()), value_set=self._ids)
        positions = np.asarray(pc.fill_null(found, -1), np.int64)
        return np.where(positions < 0, -1, self.row_keys[positions] if len(self) else -1)

    def key_of(self, product_id: str) -> int:
        """The row key of one product; `InputError` when it is not here."""
        key = self._key_of(product_id)
        if key < 0:
            raise InputError(
                f"Product {product_id!r} is not in this release. Look up the id, or refresh after its feed was taken in."
            )
        return key

    def positions(self, keys: Int64Array) -> Int64Array:
        """The rows of the table that `keys`, all of which must be here, stand in."""
        return self._places[keys]

    def by_key(self, flags: BoolArray) -> BoolArray:
        """`flags` [n] by row key instead of by position; keys that are not here have none."""
        keyed = np.zeros(int(self.row_keys[-1]) + 1 if len(self) else 0, bool)
        keyed[self.row_keys] = flags
        return keyed

    def ids_at(self, positions: Int64Array) -> list[str]:
        """The product ids at `positions`."""
        if len(positions) <= FEW:
            return [self._ids[position].as_py() for position in positions.tolist()]
        names: list[str] = self._ids.take(pa.array(positions)).to_pylist()
        return names

    def rows(self, positions: Int64Array, fields: Sequence[str]) -> list[dict[str, Any]]:
        """Read these fields of the products at `positions` [n]."""
        places = positions.tolist()
        values = [
            [column[place].as_py() for place in places] for column in map(self._columns.__getitem__, fields)
        ]
        return [dict(zip(fields, row, strict=True)) for row in zip(*values, strict=True)]

    def _key_of(self, product_id: str) -> int:
        place = bisect_left(self.by_id, product_id, key=lambda position: self._ids[position].as_py())
        position = int(self.by_id[place]) if place < len(self) else -1
        return (
            int(self.row_keys[position])
            if position >= 0 and self._ids[position].as_py() == product_id
            else -1
        )

    @cached_property
    def row_keys(self) -> Int64Array:
        """Row keys by position, int64 [n]."""
        return np.asarray(self.table.column("row_key").to_numpy())

    @cached_property
    def by_id(self) -> Int64Array:
        """Positions in the order of the product ids, int64 [n]."""
        return self._sorted if self._sorted is not None else np.asarray(pc.sort_indices(self._ids), np.int64)

    @cached_property
    def thumbnails(self) -> UInt8Array:
        """Thumbnails by position, uint8 [n, 147]; zeros where none is known."""
        column = self._columns[THUMBNAIL]
        values = np.frombuffer(column.buffers()[1] or b"", np.uint8)[column.offset * BYTES :]
        return values[: len(self) * BYTES].reshape(len(self), BYTES)

    @cached_property
    def _places(self) -> Int64Array:
        """Positions by row key, int64 [largest key + 1]."""
        places = np.full(int(self.row_keys[-1]) + 1 if len(self) else 0, -1)
        places[self.row_keys] = np.arange(len(self))
        return places

    @cached_property
    def ranks(self) -> Int64Array:
        """By position, which place the product has in the order of the ids, int64 [n]."""
        ranks = np.empty(len(self), np.int64)
        ranks[self.by_id] = np.arange(len(self))
        return ranks

    @property
    def _ids(self) -> pa.Array:
        return self._columns["product_id"]

    @cached_property
    def _columns(self) -> dict[str, pa.Array]:
        """Each column as one array: a view of its file where the table was opened from one."""
        columns = zip(self.table.column_names, self.table.columns, strict=True)
        return {
            name: column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
            for name, column in columns
        }

    def __len__(self) -> int:
        return len(self.table)


def with_thumbnails(products: pa.Table, thumbnails: UInt8Array) -> pa.Table:
    """Add the `thumbnails` uint8 [n, 147] of `products` [n] as a column."""
    values = pa.py_buffer(np.ascontiguousarray(thumbnails))
    return products.append_column(
        THUMBNAIL, pa.Array.from_buffers(pa.binary(BYTES), len(products), [None, values])
    )


def _keyed(products: pa.Table, keys: Int64Array) -> pa.Table:
    """Make the table that `Items` holds from `products`, which may lack thumbnails."""
    if THUMBNAIL not in products.column_names:
        return _keyed(with_thumbnails(products, np.zeros((len(products), BYTES), np.uint8)), keys)
    return (
        products.select(INDEXED)
        .add_column(0, "row_key", pa.array(keys, pa.int64()))
        .append_column(THUMBNAIL, products.column(THUMBNAIL))
    )
