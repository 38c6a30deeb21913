"""The change range: what happened to the products between two versions, netted to one change a product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.catalogue.table import CHANGE_FEED, PRODUCT_FIELDS, open_table
from recsim_tasks.foundation.errors import UnavailableError

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("insert", "replace", "update", "delete")


class RangeLostError(UnavailableError):
    """The change feed no longer reaches back to the cursor, or cannot be trusted; the whole table can still be compared."""


def net_changes(uri: str, after: Cursor, to: Cursor) -> pa.Table:
    """What `(after, to]` did to each product: `kind` (one of `KINDS`) and the product's fields as they are at `to`.

    `replace` is another image, `update` other fields under the same image; a product that came and went within the range is not listed.
    Reads the change feed without image bytes. Raises `RangeLostError` when the feed has a gap.
    """
    first, last = _ends(_read_feed(uri, after, to))
    return _net(first, last)


def count_kinds(changes: pa.Table) -> dict[str, int]:
    """How many products changed, by kind."""
    kinds = changes.column("kind").to_pylist()
    return {kind: kinds.count(kind) for kind in KINDS}


def _read_feed(uri: str, after: Cursor, to: Cursor) -> pa.Table:
    import pyarrow as pa
    from deltalake.exceptions import DeltaError

    table = open_table(uri, to)
    if table.metadata().configuration.get(CHANGE_FEED, "").lower() != "true":
        raise RangeLostError(f"The change feed of {uri} is off ({CHANGE_FEED}): changes since version {after.version} are not recorded.")
    columns = [*PRODUCT_FIELDS, "_change_type", "_commit_version"]
    try:
        reader = table.load_cdf(starting_version=after.version + 1, ending_version=to.version, columns=columns, allow_out_of_range=True)
        return pa.RecordBatchReader.from_stream(reader).read_all().select(columns)
    except (DeltaError, pa.ArrowException, OSError) as error:
        raise RangeLostError(
            f"The change feed of {uri} cannot be read from version {after.version + 1} on: its files or its log were removed ({str(error).splitlines()[0]})."
        ) from error


def _ends(feed: pa.Table) -> tuple[dict[str, dict[str, object]], dict[str, dict[str, object]]]:
    """The row of each product before its first change and after its last; absent when there was none."""
    ranks = {"delete": 0, "update_preimage": 0, "insert": 1, "update_postimage": 1}
    rows = sorted(feed.to_pylist(), key=lambda row: (row["_commit_version"], ranks[row["_change_type"]]))
    before: dict[str, dict[str, object]] = {}
    after: dict[str, dict[str, object]] = {}
    seen: set[str] = set()
    for row in rows:
        key, is_state_after = row["product_id"], ranks[row["_change_type"]] == 1
        if key not in seen and not is_state_after:
            before[key] = row
        seen.add(key)
        if is_state_after:
            after[key] = row
        else:
            after.pop(key, None)
    return before, after


def _net(before: dict[str, dict[str, object]], after: dict[str, dict[str, object]]) -> pa.Table:
    import pyarrow as pa

    types = {"price": pa.float64(), "in_stock": pa.bool_()}
    schema = pa.schema([("kind", pa.string()), *((name, types.get(name, pa.string())) for name in PRODUCT_FIELDS)])
    rows = [{"kind": "delete", **before[key]} for key in before.keys() - after.keys()]
    rows += [{"kind": kind, **row} for key, row in after.items() if (kind := _kind(before.get(key), row))]
    rows.sort(key=lambda row: str(row["product_id"]))
    return pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema=schema)


def _kind(before: dict[str, object] | None, after: dict[str, object]) -> str | None:
    if before is None:
        return "insert"
    if before["image_hash"] != after["image_hash"]:
        return "replace"
    return "update" if any(before[name] != after[name] for name in PRODUCT_FIELDS) else None
