"""Where in the catalogue's data files the pictures lie, so that a few of them are read without going through all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.catalogue.table import open_table, plain

if TYPE_CHECKING:
    import pyarrow as pa


def places(uri: str, cursor: Cursor, image_hashes: pa.Array) -> dict[str, pa.Array]:
    """By data file of the catalogue at `cursor`, which of `image_hashes` are to be read from it; each is named once.

    Reads one narrow column of each file, and not through Delta: a row that a deletion vector has taken out has the same picture under
    the same hash. A hash that lies in no file is not named.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.fs as pf
    import pyarrow.parquet as pq
    from deltalake.fs import DeltaStorageHandler

    # What is asked for is mostly what came last.
    files = pa.table(open_table(uri, cursor).get_add_actions(flatten=True)).sort_by(
        [("modification_time", "descending"), ("path", "ascending")]
    )
    storage = pf.PyFileSystem(DeltaStorageHandler(uri))
    found, wanted = {}, image_hashes
    for file in files["path"].to_pylist():
        if not len(wanted):
            break
        here = plain(pq.read_table(file, columns=["image_hash"], filesystem=storage))["image_hash"].unique()
        held = pc.is_in(wanted, value_set=here)
        if pc.any(held).as_py():
            found[f"{uri.rstrip('/')}/{file}"], wanted = wanted.filter(held), wanted.filter(pc.invert(held))
    return found
