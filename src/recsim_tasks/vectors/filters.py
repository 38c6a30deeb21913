"""What a caller may ask of the products in an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Filters:
    """Every condition that is set must hold; none set lets all products pass."""

    categories: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    in_stock: bool | None = None
    exclude: tuple[str, ...] = ()


def passing(items: pa.Table, filters: Filters) -> pa.Table:
    """The rows of `items` that meet `filters`; a product without a price meets no price condition."""
    import pyarrow as pa
    import pyarrow.compute as pc

    conditions = []
    if filters.categories:
        conditions.append(pc.field("category").isin(list(filters.categories)))
    if filters.min_price is not None:
        conditions.append(pc.field("price") >= filters.min_price)
    if filters.max_price is not None:
        conditions.append(pc.field("price") <= filters.max_price)
    if filters.in_stock is not None:
        conditions.append(pc.field("in_stock") == filters.in_stock)
    if filters.exclude:
        conditions.append(~pc.field("product_id").isin(pa.array(filters.exclude, pa.string())))
    for condition in conditions:
        items = items.filter(condition)
    return items
