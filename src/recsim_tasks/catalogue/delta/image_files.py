"""Locate images in the catalogue's data files, so that a few of them are read without scanning the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.arrays import Int64Array
from recsim_tasks.catalogue.delta.reader import open_table, without_views
from recsim_tasks.catalogue.delta.storage_errors import translate_read_errors
from recsim_tasks.contracts import Cursor

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs as pf

BATCH_ROWS = 256


def locate_images(uri: str, cursor: Cursor, image_hashes: pa.Array) -> dict[str, pa.Array]:
    """Assign each of `image_hashes` to one data file of the catalogue at `cursor` that has its image.

    Reads one narrow column of the Parquet files directly, not through Delta: a row that a deletion vector
    removed has the same image under the same hash. Hashes that are in no file are left out. Raises like
    `reader.iter_scan`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    # Newest first: most requests are for images that came last.
    files = pa.table(open_table(uri, cursor).get_add_actions(flatten=True)).sort_by(
        [("modification_time", "descending"), ("path", "ascending")]
    )
    storage = _storage(uri)
    located, remaining = {}, image_hashes
    for file in files["path"].to_pylist():
        if not len(remaining):
            break
        with translate_read_errors(uri, cursor.version):
            hashes = pq.read_table(file, columns=["image_hash"], filesystem=storage)
        in_file = without_views(hashes)["image_hash"]
        matches = pc.is_in(remaining, value_set=in_file.unique())
        if pc.any(matches).as_py():
            located[f"{uri.rstrip('/')}/{file}"] = remaining.filter(matches)
            remaining = remaining.filter(pc.invert(matches))
    return located


def iter_images(uri: str, cursor: Cursor, image_hashes: pa.Array) -> Iterator[pa.Table]:
    """`image` and `image_hash` for each of `image_hashes` once, in tables of at most 256 rows.

    Raises like `reader.iter_scan`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    storage, prefix = _storage(uri), f"{uri.rstrip('/')}/"
    for path, hashes in locate_images(uri, cursor, image_hashes).items():
        with (
            translate_read_errors(uri, cursor.version),
            pq.ParquetFile(path.removeprefix(prefix), filesystem=storage) as file,
        ):
            stored = without_views(file.read(["image_hash"]))["image_hash"].combine_chunks()
            rows = _first_rows(stored, hashes)
            start = 0
            for batch in file.iter_batches(BATCH_ROWS, columns=["image_hash", "image"]):
                in_batch = rows[(rows >= start) & (rows < start + len(batch))] - start
                if len(in_batch):
                    yield without_views(pa.Table.from_batches([batch])).take(pa.array(in_batch))
                start += len(batch)
                if start > rows[-1]:
                    break


def _first_rows(stored: pa.Array, hashes: pa.Array) -> Int64Array:
    """Return the first row of each of `hashes` in `stored`, int64 [n] ascending."""
    import pyarrow.compute as pc

    rows = np.flatnonzero(pc.is_in(stored, value_set=hashes).to_numpy(zero_copy_only=False))
    codes = stored.take(rows).dictionary_encode().indices.to_numpy()
    return np.sort(rows[np.unique(codes, return_index=True)[1]])


def _storage(uri: str) -> pf.PyFileSystem:
    import pyarrow.fs as pf
    from deltalake.fs import DeltaStorageHandler

    return pf.PyFileSystem(DeltaStorageHandler(uri))
