"""The product, field by field: the single source of every schema that has to do with products.

Tables, feed readers, row parsing, comparison, the index, answers and model signatures are derived from
`PRODUCT`. To add a field such as a brand, add one `Field`, then run `ALTER TABLE ... ADD COLUMNS` on an
existing catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

FieldType = Literal["string", "double", "boolean", "timestamp", "binary"]
"""The name of a type in Spark SQL that a product's field may have."""
ColumnType = FieldType | Literal["bigint"]
"""The name of a type in Spark SQL of any column."""
Value = str | float | bool | datetime | bytes | None
"""A product's value of a field; None where it is unknown."""
ProductFields = dict[str, Value]
"""Fields of a product by name."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a product."""

    name: str
    type: FieldType
    source: Literal["key", "stated", "kept"] = "stated"
    """`key` identifies the product. A row without a `stated` field clears it, one without a `kept` field
    leaves it as it is."""
    minimum: float | None = None
    """The smallest valid number."""
    empty_is_null: bool = False
    """Whether an empty text means that the value is unknown."""
    in_index: bool = True
    """Whether an index stores it; the change feed is compared by these fields."""
    in_answer: bool = True
    """Whether answers and listings show it."""


PRODUCT = (
    Field(name="product_id", type="string", source="key"),
    Field(name="title", type="string"),
    Field(name="category", type="string", empty_is_null=True),
    Field(name="price", type="double", minimum=0),
    Field(name="in_stock", type="boolean"),
    Field(name="updated_at", type="timestamp", source="kept", in_index=False, in_answer=False),
    Field(name="image", type="binary", source="kept", in_index=False, in_answer=False),
    Field(name="image_hash", type="string", source="kept", in_answer=False),
)

PRODUCT_TYPES: dict[str, ColumnType] = {field.name: field.type for field in PRODUCT}
"""The columns of the catalogue."""
STATED_FIELDS = tuple(field for field in PRODUCT if field.source == "stated")
STATED = tuple(field.name for field in STATED_FIELDS)
KEPT = tuple(field.name for field in PRODUCT if field.source == "kept")
INDEXED = tuple(field.name for field in PRODUCT if field.in_index)
"""The fields of a product that an index stores, its id first."""
ANSWERED_FIELDS = tuple(field for field in PRODUCT if field.in_answer)
ANSWERED = tuple(field.name for field in ANSWERED_FIELDS)
"""The fields of a product that answers show, its id first."""


def spark_ddl(columns: Mapping[str, ColumnType]) -> str:
    """Return the columns as Spark takes them: `product_id string, title string, ...`."""
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


def arrow_schema(columns: Mapping[str, ColumnType]) -> pa.Schema:
    """Return the columns as an Arrow schema."""
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "bigint": pa.int64(),
        "timestamp": pa.timestamp("us", "UTC"),
        "binary": pa.binary(),
    }
    return pa.schema([(name, types[kind]) for name, kind in columns.items()])


def select_types(names: Iterable[str]) -> dict[str, ColumnType]:
    """Return the named columns of the catalogue with their types."""
    return {name: PRODUCT_TYPES[name] for name in names}
