"""Read the catalogue with delta-rs, in milliseconds where a Spark session takes seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.log import read_history
from recsim_tasks.catalogue.delta.storage_errors import translate_errors, translate_read_errors
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import MissingError

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable


def head(uri: str) -> Cursor | None:
    """Return the newest version of the table at `uri`; None when there is no table."""
    table = open_if_exists(uri)
    return None if table is None else Cursor(str(table.metadata().id), table.version())


def open_if_exists(uri: str) -> DeltaTable | None:
    """Return the table at `uri`; None when there is none.

    Raises `UnavailableError` when the storage is away.
    """
    from deltalake import DeltaTable

    with translate_errors(uri):
        return DeltaTable(uri) if DeltaTable.is_deltatable(uri) else None


def open_table(uri: str, cursor: Cursor | None = None) -> DeltaTable:
    """Return the table at `uri`, at `cursor`'s version if one is given.

    Raises `MissingError` when there is no table, it is not the cursor's, or the version is gone;
    `UnavailableError` when the storage is away.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        with translate_errors(uri):
            table = DeltaTable(uri, version=None if cursor is None else cursor.version)
    except TableNotFoundError as error:
        raise MissingError(
            f"There is no catalogue at {uri} yet. Deliver a feed and run `recsim ingest FEED`."
        ) from error
    except DeltaError as error:
        version = "its head" if cursor is None else f"version {cursor.version}"
        raise MissingError(
            f"The table at {uri} cannot be read at {version}: {error}. Plan the refresh again."
        ) from error
    if cursor is not None and str(table.metadata().id) != cursor.table_id:
        raise MissingError(
            f"The table at {uri} was recreated after it was planned for. Plan the refresh again."
        )
    return table


def scan(table: DeltaTable, columns: Sequence[str], where: str | None = None) -> pa.Table:
    """Return the named columns of all rows, or of those that match the SQL predicate `where`.

    Raises like `iter_scan`.
    """
    import pyarrow as pa

    with translate_read_errors(table.table_uri, table.version()):
        return pa.RecordBatchReader.from_stream(table.scan(columns=list(columns), predicate=where)).read_all()


def iter_scan(
    table: DeltaTable, columns: Sequence[str], where: str | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield what `scan` returns, one record batch at a time.

    Raises `MissingError` when files of this version were vacuumed, `UnavailableError` when the storage is
    away.
    """
    import pyarrow as pa

    with translate_read_errors(table.table_uri, table.version()):
        yield from pa.RecordBatchReader.from_stream(table.scan(columns=list(columns), predicate=where))


def read_products(uri: str, cursor: Cursor, columns: Sequence[str]) -> pa.Table:
    """Return the named columns of all products at `cursor`; raises like `iter_scan`."""
    table = open_table(uri, cursor)
    if missing := set(columns) - {field.name for field in table.schema().fields}:
        raise MissingError(
            f"The catalogue at {uri} has no column {', '.join(sorted(missing))}. Add it, or recreate the "
            "table."
        )
    return without_views(scan(table, columns).select(columns))


def iter_products(uri: str, cursor: Cursor, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the named columns of all products in batches, for images that do not fit into memory."""
    import pyarrow as pa

    for batch in iter_scan(open_table(uri, cursor), columns):
        yield from without_views(pa.Table.from_batches([batch]).select(columns)).to_batches()


def read_image(table: DeltaTable, product_id: str, image_hash: str) -> bytes | None:
    """Return the encoded image of a product; None when the table has no such product with this image.

    Raises like `iter_scan`.
    """
    quoted = [value.replace("'", "''") for value in (product_id, image_hash)]
    images = scan(table, ["image"], "product_id = '{}' AND image_hash = '{}'".format(*quoted))["image"]
    return images[0].as_py() if len(images) else None


def committed_at(uri: str, version: int) -> float:
    """Return when `version` was committed, in Unix seconds by the writer's clock.

    If the log no longer has it, this is the time of the oldest commit that it has.
    """
    history = read_history(open_table(uri))
    return next((info.time for info in history if info.version == version), history[-1].time)


def without_views(table: pa.Table) -> pa.Table:
    """Replace Arrow's view and large types by the plain ones, which all readers support."""
    import pyarrow as pa

    plain = {
        pa.string_view(): pa.string(),
        pa.binary_view(): pa.binary(),
        pa.large_string(): pa.string(),
        pa.large_binary(): pa.binary(),
    }
    fields = [field.with_type(plain.get(field.type, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))
