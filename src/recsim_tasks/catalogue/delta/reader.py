"""Read the catalogue with delta-rs: milliseconds where a Spark session takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import MissingError
from recsim_tasks.foundation.outages import diagnose

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

PRODUCT_FIELDS = ("product_id", "title", "category", "price", "in_stock", "image_hash")


def head(uri: str) -> Cursor | None:
    """Where the table at `uri` stands now; None when there is no table."""
    from deltalake import DeltaTable

    with reading(uri):
        if not DeltaTable.is_deltatable(uri):
            return None
        table = DeltaTable(uri)
        return Cursor(str(table.metadata().id), table.version())


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Read the table at `uri` with delta-rs; what is away or not allowed comes out as an error of ours that names the table."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, OSError) as error:
        if known := diagnose(error, f"the table {uri}"):
            raise known from error
        raise


def open_table(uri: str, cursor: Cursor | None = None) -> DeltaTable:
    """The table at `uri`, at `cursor`'s version when one is given.

    Raises `MissingError` when there is no table, another table than the cursor's, or the version is gone; `UnavailableError` when the
    storage is away.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        with reading(uri):
            table = DeltaTable(uri, version=None if cursor is None else cursor.version)
    except TableNotFoundError as error:
        raise MissingError(
            f"There is no catalogue at {uri} yet. Deliver a feed and run `recsim ingest FEED`."
        ) from error
    except DeltaError as error:
        version = "its head" if cursor is None else f"version {cursor.version}"
        raise MissingError(
            f"The table at {uri} cannot be read at {version}: {error}. Plan the refresh anew."
        ) from error
    if cursor is not None and str(table.metadata().id) != cursor.table_id:
        raise MissingError(
            f"The table at {uri} is not the one that was planned for: it was created anew. Plan the refresh anew."
        )
    return table


def read_products(uri: str, cursor: Cursor, columns: list[str]) -> pa.Table:
    """The named columns of all products at `cursor`."""
    import pyarrow as pa

    table = open_table(uri, cursor)
    if missing := set(columns) - {field.name for field in table.schema().fields}:
        raise MissingError(
            f"The catalogue at {uri} has no column {', '.join(sorted(missing))} any more. Put it back, or recreate the table."
        )
    return plain(pa.RecordBatchReader.from_stream(table.scan(columns=columns)).read_all().select(columns))


def iter_products(uri: str, cursor: Cursor, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The named columns of all products at `cursor`, a batch at a time, for columns too large to hold (images)."""
    import pyarrow as pa

    for batch in pa.RecordBatchReader.from_stream(open_table(uri, cursor).scan(columns=columns)):
        yield from plain(pa.Table.from_batches([batch]).select(columns)).to_batches()


def read_image(table: DeltaTable, product_id: str, image_hash: str) -> bytes | None:
    """Read the image of one product as delivered; None when the table has no such product with this image.

    Raises `MissingError` when a file of this version was vacuumed.
    """
    import pyarrow as pa
    from deltalake.exceptions import DeltaError

    quoted = [value.replace("'", "''") for value in (product_id, image_hash)]
    predicate = "product_id = '{}' AND image_hash = '{}'".format(*quoted)
    try:
        with reading(table.table_uri):
            reader = table.scan(columns=["product_id", "image_hash", "image"], predicate=predicate)
            rows = pa.RecordBatchReader.from_stream(reader).read_all().column("image").to_pylist()
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise MissingError(
            f"Version {table.version()} of {table.table_uri} cannot be read any more: {error}. Run a refresh."
        ) from error
    return rows[0] if rows else None


def committed_at(uri: str, version: int) -> float:
    """When `version` was committed, in seconds since the epoch by the writer's clock."""
    rows = open_table(uri).history()
    return (
        float(next((row["timestamp"] for row in rows if row["version"] == version), rows[-1]["timestamp"]))
        / 1000
    )


def plain(table: pa.Table) -> pa.Table:
    """Arrow's view types as the plain ones that all readers know."""
    import pyarrow as pa

    plain = {
        pa.string_view(): pa.string(),
        pa.binary_view(): pa.binary(),
        pa.large_string(): pa.string(),
        pa.large_binary(): pa.binary(),
    }
    return table.cast(
        pa.schema([field.with_type(plain.get(field.type, field.type)) for field in table.schema])
    )
