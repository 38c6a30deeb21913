"""Net changes: what happened to the products between two versions, at most one change a product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.arrays import BoolArray
from recsim_tasks.catalogue.delta.change_feed import ChangeFeedGapError, open_change_range
from recsim_tasks.catalogue.delta.reader import without_views
from recsim_tasks.catalogue.delta.storage_errors import translate_errors
from recsim_tasks.catalogue.schema import INDEXED, arrow_schema, select_types
from recsim_tasks.contracts import Cursor

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("insert", "replace", "update", "delete")
STATES_AFTER = ("insert", "update_postimage")


def net_changes(uri: str, after: Cursor, to: Cursor) -> pa.Table:
    """Return the net change of each product in `(after, to]`: its `kind` and its `INDEXED` fields at `to`.

    The rows are ordered by product id. Kinds are those of `KINDS`: `replace` is another image, `update` other
    fields with the same image. Products that were added and removed within the range are left out. Reads the
    change feed without image bytes. Raises `ChangeFeedGapError` when the feed is incomplete.
    """
    return compare(*_first_and_last_states(_read_feed(uri, after, to)))


def compare(before: pa.Table, after: pa.Table) -> pa.Table:
    """Return the changes between two tables of `INDEXED` fields, in the form of `net_changes`.

    Each product is in each table at most once.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    before, after = (table.select(INDEXED).combine_chunks() for table in (before, after))
    position = pc.index_in(after["product_id"], value_set=before["product_id"])
    old = before.take(position)  # a row of nulls for a new product
    differs = {name: _differs(old[name], after[name]) for name in INDEXED}
    updated = np.logical_or.reduce(list(differs.values()))
    kinds = np.select([pc.is_null(position).to_numpy(), differs["image_hash"], updated], KINDS[:3], "")
    changed = _with_kind(after, pa.array(kinds.tolist(), pa.string())).filter(pc.field("kind") != "")
    removed = before.filter(pc.invert(pc.is_in(before["product_id"], value_set=after["product_id"])))
    deleted = _with_kind(removed, pa.array(["delete"] * len(removed), pa.string()))
    return pa.concat_tables([changed, deleted]).sort_by("product_id")


def count_kinds(changes: pa.Table) -> dict[str, int]:
    """Return the number of changed products by kind."""
    counts = {row["values"]: row["counts"] for row in changes["kind"].value_counts().to_pylist()}
    return {kind: counts.get(kind, 0) for kind in KINDS}


def _read_feed(uri: str, after: Cursor, to: Cursor) -> pa.Table:
    import pyarrow as pa
    from deltalake.exceptions import DeltaError

    columns = [*INDEXED, "_change_type", "_commit_version"]
    table = open_change_range(uri, after, to)
    try:
        with translate_errors(uri):
            reader = table.load_cdf(
                starting_version=after.version + 1,
                ending_version=to.version,
                columns=columns,
                allow_out_of_range=True,
            )
            rows = pa.RecordBatchReader.from_stream(reader).read_all()
    except (DeltaError, pa.ArrowInvalid, OSError) as error:
        raise ChangeFeedGapError(
            f"The change feed of {uri} cannot be read from version {after.version + 1} on, because files "
            f"that it needs were removed ({str(error).splitlines()[0]})."
        ) from error
    return without_views(rows.select(columns))


def _first_and_last_states(feed: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return each product's row before its first change, and after its last; none where it did not exist."""
    import pyarrow as pa
    import pyarrow.compute as pc

    feed = feed.combine_chunks()
    # Within a commit, the removal of a row sorts before its insertion.
    is_after = pc.is_in(feed["_change_type"], value_set=pa.array(STATES_AFTER)).to_numpy()
    product = feed["product_id"].combine_chunks().dictionary_encode("encode").indices.to_numpy()
    order = np.lexsort((is_after, feed["_commit_version"].to_numpy(), product))
    starts = np.flatnonzero(np.diff(product[order], prepend=-1))
    first, last = order[starts], order[np.append(starts[1:], len(order))[: len(starts)] - 1]
    return feed.take(first[~is_after[first]]), feed.take(last[is_after[last]])


def _differs(one: pa.ChunkedArray, other: pa.ChunkedArray) -> BoolArray:
    """Return where two columns differ; null equals null."""
    import pyarrow.compute as pc

    only_one = pc.xor(pc.is_null(one), pc.is_null(other))
    return np.asarray(pc.coalesce(pc.not_equal(one, other), only_one), bool)


def _with_kind(products: pa.Table, kinds: pa.Array) -> pa.Table:
    schema = arrow_schema({"kind": "string", **select_types(INDEXED)})
    return products.add_column(0, "kind", kinds).cast(schema)
