"""Check that other writers left the catalogue intact: its columns, and each product once, with an image.

Reads ids and hashes only: the cost follows the number of products, not the size of their images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from recsim_tasks.catalogue.delta.reader import open_table, read_products, scan
from recsim_tasks.catalogue.schema import PRODUCT_TYPES
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.text import one_line

if TYPE_CHECKING:
    import pyarrow as pa

MAX_NAMED = 5


def check_catalogue(uri: str, cursor: Cursor) -> None:
    """Raise `InputError` unless the catalogue at `cursor` is intact.

    It must have its columns, and each product once, with id, image and hash.
    """
    table = open_table(uri, cursor)
    types = {field.name: str(getattr(field.type, "type", field.type)) for field in table.schema().fields}
    faults = column_faults(types)
    if not faults:
        products = read_products(uri, cursor, ["product_id", "image_hash"])
        ids = scan(table, ["product_id"], "image IS NULL")["product_id"].to_pylist()
        faults = [f"it has {fault}" for fault in row_faults(products, ids)]
    if faults:
        raise InputError(
            f"The catalogue at {uri} was damaged by another writer: at version {cursor.version} "
            f"{'; '.join(faults)}. Correct the table, or RESTORE it to an earlier version, then run this "
            "again."
        )


def column_faults(types: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a catalogue with these types of columns; additional columns are allowed."""
    missing = [name for name in PRODUCT_TYPES if name not in types]
    wrong = [
        f"{name} is {types[name]}, not {kind}"
        for name, kind in PRODUCT_TYPES.items()
        if name in types and types[name] != kind
    ]
    return [f"it has no column {', '.join(missing)}"] * bool(missing) + wrong


def row_faults(products: pa.Table, without_image: Sequence[str | None]) -> list[str]:
    """Return what is wrong with `products` (`product_id`, `image_hash`), of which some are `without_image`.

    Each sentence names up to five products.
    """
    import pyarrow.compute as pc

    ids, hashes = products["product_id"], products["image_hash"]
    unnamed = pc.sum(pc.equal(pc.utf8_length(pc.fill_null(ids, "")), 0)).as_py() or 0
    counted = ids.drop_null().value_counts()
    repeated = counted.filter(pc.greater(counted.field("counts"), 1)).field("values").to_pylist()
    faulty: dict[str, list[str | None]] = {
        "more than once": repeated,
        "without image_hash": products.filter(pc.is_null(hashes))["product_id"].to_pylist(),
        "without image": list(without_image),
    }
    sentences = [f"{_products(unnamed)} without product_id"] if unnamed else []
    return sentences + [
        f"{_products(len(names))} {fault}: {_listing(names)}" for fault, names in faulty.items() if names
    ]


def _products(count: int) -> str:
    return f"{count:,} product" + "s" * (count != 1)


def _listing(products: Sequence[str | None]) -> str:
    names = sorted(one_line(product) for product in products)
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
