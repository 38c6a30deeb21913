"""The products of an index: fields by row key, row keys by product id, in a memory-mapped Arrow file."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsim_tasks.arrays import BoolArray, Int64Array, UInt8Array
from recsim_tasks.catalogue.schema import INDEXED, ProductFields
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.vectors.thumbnails import THUMBNAIL_BYTES

# Positions in the order of the product ids: for bisection, and to break ties.
BY_ID = "by_id"
THUMBNAIL = "thumbnail"
# Up to so many ids, looking them up one by one is faster than all at once.
FEW_IDS = 100


class ProductTable:
    """An immutable Arrow table of `row_key` (int64, ascending), `INDEXED` and `thumbnail`.

    A position is a row number of this table.
    """

    def __init__(self, table: pa.Table, by_id: Int64Array | None = None) -> None:
        self.table = table
        self._sorted = by_id

    @classmethod
    def of(cls, products: pa.Table, keys: Int64Array) -> ProductTable:
        """Make a table of `products` under ascending `keys`."""
        return cls(_keyed(products, keys).combine_chunks())

    @classmethod
    def open(cls, path: Path) -> ProductTable:
        """Map the table in `path`; only the pages that are read come into memory."""
        with pa.memory_map(str(path)) as file:
            stored = pa.ipc.open_file(file).read_all()
        return cls(stored.drop_columns([BY_ID]), stored.column(BY_ID).to_numpy())

    def write(self, path: Path) -> None:
        """Write the table, with the order of its ids, as an Arrow file of one batch."""
        stored = self.table.append_column(BY_ID, pa.array(self.by_id)).combine_chunks()
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, stored.schema) as writer:
            writer.write_table(stored, max_chunksize=max(len(stored), 1))

    def put(self, products: pa.Table, keys: Int64Array) -> ProductTable:
        """Return a table with `products` under `keys`; new keys must ascend and exceed all existing ones."""
        combined = pa.concat_tables([self.table, _keyed(products, keys).cast(self.table.schema)])
        new = keys > (self.row_keys[-1] if len(self) else -1)
        if new.all():
            return ProductTable(combined.combine_chunks())
        take = np.arange(len(self) + int(new.sum()))
        added = np.arange(len(self), len(combined))
        take[self.positions(keys[~new])] = added[~new]
        take[len(self) :] = added[new]
        return ProductTable(combined.take(pa.array(take)).combine_chunks())

    def update(self, products: pa.Table, keys: Int64Array) -> ProductTable:
        """Return a table with new fields for `keys`, all of which must exist; thumbnails stay."""
        thumbnails = self.table.column(THUMBNAIL).take(pa.array(self.positions(keys)))
        return self.put(products.select(INDEXED).append_column(THUMBNAIL, thumbnails), keys)

    def drop(self, keys: Int64Array) -> ProductTable:
        """Return a table without `keys`."""
        kept = np.ones(len(self), bool)
        kept[self.positions(keys)] = False
        return ProductTable(self.table.filter(pa.array(kept)).combine_chunks())

    def keys_of(self, product_ids: list[str]) -> Int64Array:
        """Return the row keys of `product_ids`, int64 [n]; -1 for an unknown product."""
        if len(product_ids) <= FEW_IDS:
            return np.array([self._key_of(name) for name in product_ids], np.int64)
        matches = pc.index_in(pa.array(product_ids, pa.string()), value_set=self._ids)
        positions = np.asarray(pc.fill_null(matches, -1), np.int64)
        return np.where(positions < 0, -1, self.row_keys[positions] if len(self) else -1)

    def key_of(self, product_id: str) -> int:
        """Return the row key of one product; `InputError` when it is unknown."""
        key = self._key_of(product_id)
        if key < 0:
            raise InputError(
                f"Product {product_id!r} is not in this release. "
                "Check the id, or run a refresh once its feed is ingested."
            )
        return key

    def positions(self, keys: Int64Array) -> Int64Array:
        """Return the positions of `keys`, all of which must exist."""
        return self._positions_by_key[keys]

    def by_key(self, flags: BoolArray) -> BoolArray:
        """Convert `flags` [n] by position to flags by row key; unused keys get False."""
        keyed = np.zeros(int(self.row_keys[-1]) + 1 if len(self) else 0, bool)
        keyed[self.row_keys] = flags
        return keyed

    def ids_at(self, positions: Int64Array) -> list[str]:
        """Return the product ids at `positions`."""
        if len(positions) <= FEW_IDS:
            return [self._ids[position].as_py() for position in positions.tolist()]
        names: list[str] = self._ids.take(pa.array(positions)).to_pylist()
        return names

    def rows(self, positions: Int64Array, fields: Sequence[str]) -> list[ProductFields]:
        """Return these fields of the products at `positions` [n]."""
        rows = positions.tolist()
        values = [[column[row].as_py() for row in rows] for column in map(self._columns.__getitem__, fields)]
        return [dict(zip(fields, row, strict=True)) for row in zip(*values, strict=True)]

    def _key_of(self, product_id: str) -> int:
        rank = bisect_left(self.by_id, product_id, key=lambda position: self._ids[position].as_py())
        position = int(self.by_id[rank]) if rank < len(self) else -1
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
        values = np.frombuffer(column.buffers()[1] or b"", np.uint8)[column.offset * THUMBNAIL_BYTES :]
        return values[: len(self) * THUMBNAIL_BYTES].reshape(len(self), THUMBNAIL_BYTES)

    @cached_property
    def _positions_by_key(self) -> Int64Array:
        """Positions by row key, int64 [largest key + 1]."""
        positions = np.full(int(self.row_keys[-1]) + 1 if len(self) else 0, -1)
        positions[self.row_keys] = np.arange(len(self))
        return positions

    @cached_property
    def ranks(self) -> Int64Array:
        """Rank by position, in the order of the product ids, int64 [n]."""
        ranks = np.empty(len(self), np.int64)
        ranks[self.by_id] = np.arange(len(self))
        return ranks

    @property
    def _ids(self) -> pa.Array:
        return self._columns["product_id"]

    @cached_property
    def _columns(self) -> dict[str, pa.Array]:
        """Columns as single arrays: views of the mapped file where the table was opened from one."""
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
        THUMBNAIL, pa.Array.from_buffers(pa.binary(THUMBNAIL_BYTES), len(products), [None, values])
    )


def _keyed(products: pa.Table, keys: Int64Array) -> pa.Table:
    """Add row keys to `products`, and thumbnails of zeros where they have none."""
    if THUMBNAIL not in products.column_names:
        return _keyed(with_thumbnails(products, np.zeros((len(products), THUMBNAIL_BYTES), np.uint8)), keys)
    return (
        products.select(INDEXED)
        .add_column(0, "row_key", pa.array(keys, pa.int64()))
        .append_column(THUMBNAIL, products.column(THUMBNAIL))
    )
