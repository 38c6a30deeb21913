"""The columns that the file of a feed may have, and their types in Parquet."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.schema import PRODUCT_TYPES, STATED, ColumnType
from recsim_tasks.foundation.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

FEED_COLUMNS = ("product_id", "op", *STATED, "updated_at", "image", "image_path")
EXPECTED_TYPES: dict[ColumnType, str] = {
    "double": "a number",
    "boolean": "boolean, 0 or 1",
    "timestamp": "a timestamp or a date",
    "binary": "binary",
}
PANDAS_INDEX = re.compile(r"__index_level_\d+__")


def check_names(source: Path, names: list[str]) -> None:
    """Raise `InputError` if the columns are not those of a feed."""
    unknown = sorted(set(names) - set(FEED_COLUMNS))
    repeated = sorted({name for name in names if names.count(name) > 1})
    faults = [f"unknown column {', '.join(unknown)}"] if unknown else []
    faults += [f"column {', '.join(repeated)} twice"] if repeated else []
    faults += ["no column product_id"] if not faults and "product_id" not in names else []
    if faults:
        raise InputError(
            f"{source} has {' and '.join(faults)}. The columns of a feed are {', '.join(FEED_COLUMNS)}. "
            "Correct it and deliver the feed again."
        )


def check_parquet_types(source: Path) -> None:
    """Raise `InputError` for a column that a feed does not have, or whose type does not fit."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    try:
        schema = ds.dataset(source, format="parquet").schema
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{source} is not Parquet: {error}. Deliver the feed again.") from error
    fields = [field for field in schema if not PANDAS_INDEX.fullmatch(field.name)]
    if len(fields) < len(schema):
        log.warning(
            "%s contains the index of a pandas frame as a column; ignoring it. `to_parquet(index=False)` "
            "leaves it out.",
            source,
        )
    check_names(source, [field.name for field in fields])
    if wrong := [field for field in fields if not _fits(field)]:
        faults = ", ".join(f"{field.name} is {field.type}" for field in wrong)
        expected = ", ".join(
            f"{name} {EXPECTED_TYPES[kind]}"
            for name, kind in PRODUCT_TYPES.items()
            if name in FEED_COLUMNS and kind in EXPECTED_TYPES
        )
        raise InputError(
            f"{source} has columns of the wrong type: {faults}. Expected: {expected}, the others text."
        )


def _fits(field: pa.Field) -> bool:
    """Return whether a Parquet column has a type that Spark reads and its field allows."""
    import pyarrow.types as t

    text = (t.is_string, t.is_large_string, t.is_string_view)
    accepted = {
        "string": text,
        "double": (t.is_integer, t.is_float32, t.is_float64, t.is_decimal128),
        "boolean": (t.is_boolean, t.is_integer),
        "timestamp": (t.is_timestamp, t.is_date),
        "binary": (t.is_binary, t.is_large_binary, t.is_binary_view),
    }
    # A pandas categorical is stored as a dictionary.
    stored = field.type.value_type if t.is_dictionary(field.type) else field.type
    kind = PRODUCT_TYPES.get(field.name, "string")
    return t.is_null(stored) or any(test(stored) for test in accepted[kind])
