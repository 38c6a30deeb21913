"""Whether other writers have left the catalogue as recsim needs it: its columns, and each product once, with its image.

Reads ids and hashes alone: what it costs follows the number of products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.reader import open_table, read_products, reading
from recsim_tasks.catalogue.delta.writer import PRODUCTS
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.text import one_line

if TYPE_CHECKING:
    import pyarrow as pa

NAMED = 5
TYPES = dict(field.split() for field in PRODUCTS.split(", "))


def check_catalogue(uri: str, cursor: Cursor) -> None:
    """`InputError` unless the catalogue at `cursor` has recsim's columns, and each product once with id, image and hash."""
    import pyarrow as pa

    table = open_table(uri, cursor)
    faults = column_faults(
        {field.name: str(getattr(field.type, "type", field.type)) for field in table.schema().fields}
    )
    if not faults:
        products = read_products(uri, cursor, ["product_id", "image_hash"])
        with reading(uri):
            bare = pa.RecordBatchReader.from_stream(
                table.scan(columns=["product_id"], predicate="image IS NULL")
            ).read_all()
        faults = [
            f"of its products there are {fault}"
            for fault in row_faults(products, bare["product_id"].to_pylist())
        ]
    if faults:
        raise InputError(
            f"The catalogue at {uri} is not as recsim writes it at version {cursor.version}: {'; '.join(faults)}. Another writer did "
            "this. Correct the rows or columns there, or RESTORE the table to a version before, then run this again."
        )


def column_faults(types: dict[str, str]) -> list[str]:
    """What is wrong with the columns of a catalogue, given each one's type by its name; columns of others' own are none of ours."""
    missing = [name for name in TYPES if name not in types]
    other = [
        f"{name} is {types[name]}, not {kind}"
        for name, kind in TYPES.items()
        if name in types and types[name] != kind
    ]
    return [f"it has no column {', '.join(missing)}"] * bool(missing) + other


def row_faults(products: pa.Table, without_image: Sequence[str | None]) -> list[str]:
    """What is wrong with `products` (`product_id`, `image_hash`), of which some lie there `without_image`: with up to five ids each."""
    import pyarrow.compute as pc

    ids, hashes = products["product_id"], products["image_hash"]
    nameless = pc.sum(pc.equal(pc.utf8_length(pc.fill_null(ids, "")), 0)).as_py() or 0
    counted = ids.drop_null().value_counts()
    several = counted.filter(pc.greater(counted.field("counts"), 1)).field("values").to_pylist()
    found = {
        "more than once": several,
        "without image_hash": products.filter(pc.is_null(hashes))["product_id"].to_pylist(),
        "without an image": list(without_image),
    }
    sentences = [f"{nameless:,} without product_id"] if nameless else []
    return sentences + [f"{len(names):,} {fault}: {_named(names)}" for fault, names in found.items() if names]


def _named(products: Sequence[str | None]) -> str:
    shown = sorted(one_line(product) for product in products)
    return ", ".join(shown[:NAMED]) + (f" and {len(shown) - NAMED:,} more" if len(shown) > NAMED else "")
