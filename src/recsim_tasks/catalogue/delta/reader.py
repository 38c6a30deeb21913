"""Read the catalogue with delta-rs, in milliseconds where a Spark session takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.log import read_history
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import MissingError
from recsim_tasks.foundation.outages import diagnose

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable


def head(uri: str) -> Cursor | None:
    """The newest version of the table at `uri`; None when there is no table."""
    from deltalake import DeltaTable

    with translate_errors(uri):
        if not DeltaTable.is_deltatable(uri):
            return None
        table = DeltaTable(uri)
        return Cursor(str(table.metadata().id), table.version())


@contextmanager
def translate_errors(uri: str) -> Iterator[None]:
    """Turn delta-rs's errors about storage that is away or denies access into errors that name the table."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, OSError) as error:
        if known := diagnose(error, f"the table {uri}"):
            raise known from error
        raise


def open_table(uri: str, cursor: Cursor | None = None) -> DeltaTable:
    """The table at `uri`, at `cursor`'s version if one is given.

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


def read_products(uri: str, cursor: Cursor, columns: list[str]) -> pa.Table:
    """The named columns of all products at `cursor`."""
    import pyarrow as pa

    table = open_table(uri, cursor)
    if missing := set(columns) - {field.name for field in table.schema().fields}:
        raise MissingError(
            f"The catalogue at {uri} has no column {', '.join(sorted(missing))}. Add it, or recreate the "
            "table."
        )
    rows = pa.RecordBatchReader.from_stream(table.scan(columns=columns)).read_all()
    return without_views(rows.select(columns))


def iter_products(uri: str, cursor: Cursor, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The named columns of all products at `cursor` in batches, for images that do not fit into memory."""
    import pyarrow as pa

    for batch in pa.RecordBatchReader.from_stream(open_table(uri, cursor).scan(columns=columns)):
        yield from without_views(pa.Table.from_batches([batch]).select(columns)).to_batches()


def read_image(table: DeltaTable, product_id: str, image_hash: str) -> bytes | None:
    """The encoded image of a product; None when the table has no such product with this image.

    Raises `MissingError` when a file of this version was vacuumed.
    """
    import pyarrow as pa
    from deltalake.exceptions import DeltaError

    quoted = [value.replace("'", "''") for value in (product_id, image_hash)]
    predicate = "product_id = '{}' AND image_hash = '{}'".format(*quoted)
    try:
        with translate_errors(table.table_uri):
            reader = table.scan(columns=["product_id", "image_hash", "image"], predicate=predicate)
            rows = pa.RecordBatchReader.from_stream(reader).read_all().column("image").to_pylist()
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise MissingError(
            f"Version {table.version()} of {table.table_uri} can no longer be read: {error}. Run a refresh."
        ) from error
    return rows[0] if rows else None


def committed_at(uri: str, version: int) -> float:
    """When `version` was committed, in Unix seconds by the writer's clock.

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
