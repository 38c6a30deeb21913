"""The change range: what happened to the products between two versions, netted to one change a product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.catalogue.delta.change_feed import RangeLostError, open_range
from recsim_tasks.catalogue.delta.reader import PRODUCT_FIELDS, plain
from recsim_tasks.contracts import Cursor

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("insert", "replace", "update", "delete")
STATES_AFTER = ("insert", "update_postimage")


def net_changes(uri: str, after: Cursor, to: Cursor) -> pa.Table:
    """What `(after, to]` did to each product: `kind` (one of `KINDS`) and the product's fields as they are at `to`, in order of product id.

    `replace` is another image, `update` other fields under the same image; a product that came and went within the range is not listed.
    Reads the change feed without image bytes. Raises `RangeLostError` when the feed has a gap.
    """
    return compare(*_ends(_read_feed(uri, after, to)))


def compare(before: pa.Table, after: pa.Table) -> pa.Table:
    """What leads from the products `before` to those `after`, as in `net_changes`; each has `PRODUCT_FIELDS` and a product once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    before, after = (table.select(PRODUCT_FIELDS).combine_chunks() for table in (before, after))
    place = pc.index_in(after["product_id"], value_set=before["product_id"])
    old = before.take(place)  # a row of nulls for a product that was not there
    differs = {name: _differs(old[name], after[name]) for name in PRODUCT_FIELDS}
    updated = np.logical_or.reduce(list(differs.values()))
    names = np.select([pc.is_null(place).to_numpy(), differs["image_hash"], updated], KINDS[:3], "")
    changed = _named(after, pa.array(names.tolist(), pa.string())).filter(pc.field("kind") != "")
    gone = before.filter(pc.invert(pc.is_in(before["product_id"], value_set=after["product_id"])))
    return pa.concat_tables([changed, _named(gone, pa.array(["delete"] * len(gone), pa.string()))]).sort_by(
        "product_id"
    )


def count_kinds(changes: pa.Table) -> dict[str, int]:
    """How many products changed, by kind."""
    counted = {row["values"]: row["counts"] for row in changes["kind"].value_counts().to_pylist()}
    return {kind: counted.get(kind, 0) for kind in KINDS}


def _read_feed(uri: str, after: Cursor, to: Cursor) -> pa.Table:
    import pyarrow as pa
    from deltalake.exceptions import DeltaError

    columns = [*PRODUCT_FIELDS, "_change_type", "_commit_version"]
    table = open_range(uri, after, to)
    try:
        reader = table.load_cdf(
            starting_version=after.version + 1,
            ending_version=to.version,
            columns=columns,
            allow_out_of_range=True,
        )
        return plain(pa.RecordBatchReader.from_stream(reader).read_all().select(columns))
    except (DeltaError, pa.ArrowException, OSError) as error:
        raise RangeLostError(
            f"The change feed of {uri} cannot be read from version {after.version + 1} on: files that it needs were removed ({str(error).splitlines()[0]})."
        ) from error


def _ends(feed: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The row of each product before its first change and after its last; absent when there was none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    feed = feed.combine_chunks()
    # Within a commit a row that goes stands before the one that comes.
    comes = pc.is_in(feed["_change_type"], value_set=pa.array(STATES_AFTER)).to_numpy()
    product = feed["product_id"].combine_chunks().dictionary_encode("encode").indices.to_numpy()
    order = np.lexsort((comes, feed["_commit_version"].to_numpy(), product))
    starts = np.flatnonzero(np.diff(product[order], prepend=-1))
    first, last = order[starts], order[np.append(starts[1:], len(order))[: len(starts)] - 1]
    return feed.take(first[~comes[first]]), feed.take(last[comes[last]])


def _differs(one: pa.ChunkedArray, other: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Where two columns differ; null equals null."""
    import pyarrow.compute as pc

    only_one = pc.xor(pc.is_null(one), pc.is_null(other))
    return np.asarray(pc.coalesce(pc.not_equal(one, other), only_one), bool)


def _named(products: pa.Table, kinds: pa.Array) -> pa.Table:
    import pyarrow as pa

    types = {"price": pa.float64(), "in_stock": pa.bool_()}
    schema = pa.schema(
        [("kind", pa.string()), *((name, types.get(name, pa.string())) for name in PRODUCT_FIELDS)]
    )
    return products.add_column(0, "kind", kinds).cast(schema)
