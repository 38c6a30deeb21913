"""Where in the catalogue's data files the pictures lie, so that a few of them are read without going through all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.catalogue.delta.reader import open_table, plain
from recsim_tasks.contracts import Cursor

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs as pf

ROWS_AT_A_TIME = 256


def places(uri: str, cursor: Cursor, image_hashes: pa.Array) -> dict[str, pa.Array]:
    """By data file of the catalogue at `cursor`, which of `image_hashes` are to be read from it; each is named once.

    Reads one narrow column of each file, and not through Delta: a row that a deletion vector has taken out has the same picture under
    the same hash. A hash that lies in no file is not named.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    # What is asked for is mostly what came last.
    files = pa.table(open_table(uri, cursor).get_add_actions(flatten=True)).sort_by(
        [("modification_time", "descending"), ("path", "ascending")]
    )
    storage = _storage(uri)
    found, wanted = {}, image_hashes
    for file in files["path"].to_pylist():
        if not len(wanted):
            break
        here = plain(pq.read_table(file, columns=["image_hash"], filesystem=storage))["image_hash"].unique()
        held = pc.is_in(wanted, value_set=here)
        if pc.any(held).as_py():
            found[f"{uri.rstrip('/')}/{file}"], wanted = wanted.filter(held), wanted.filter(pc.invert(held))
    return found


def iter_pictures(uri: str, cursor: Cursor, image_hashes: pa.Array) -> Iterator[pa.Table]:
    """The `image` of each of `image_hashes`, once each, with its `image_hash`; at most 256 rows are held at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    storage, prefix = _storage(uri), f"{uri.rstrip('/')}/"
    for path, wanted in places(uri, cursor, image_hashes).items():
        with pq.ParquetFile(storage.open_input_file(path.removeprefix(prefix))) as file:
            chosen = _first_rows(plain(file.read(["image_hash"]))["image_hash"].combine_chunks(), wanted)
            start = 0
            for batch in file.iter_batches(ROWS_AT_A_TIME, columns=["image_hash", "image"]):
                here = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
                if len(here):
                    yield plain(pa.Table.from_batches([batch])).take(pa.array(here))
                start += len(batch)
                if start > chosen[-1]:
                    break


def _first_rows(hashes: pa.Array, wanted: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The row of each of `wanted` in `hashes`, the first where there are several; in ascending order."""
    import pyarrow.compute as pc

    rows = np.flatnonzero(pc.is_in(hashes, value_set=wanted).to_numpy(zero_copy_only=False))
    codes = hashes.take(rows).dictionary_encode().indices.to_numpy()
    return np.sort(rows[np.unique(codes, return_index=True)[1]])


def _storage(uri: str) -> pf.PyFileSystem:
    import pyarrow.fs as pf
    from deltalake.fs import DeltaStorageHandler

    return pf.PyFileSystem(DeltaStorageHandler(uri))
