"""Conditions on the products of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_tasks.arrays import BoolArray

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Filters:
    """A product must meet every condition that is set; with none set, all products match."""

    categories: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    in_stock: bool | None = None
    exclude: tuple[str, ...] = ()


def matching(products: pa.Table, filters: Filters) -> BoolArray | None:
    """Return which rows of `products` [n] meet the conditions on their fields, or None without conditions.

    `exclude` is not applied here. A product without a price meets no price condition.
    """
    if not filters.categories and filters.min_price is filters.max_price is filters.in_stock is None:
        return None
    matches = np.ones(len(products), bool)
    for condition in _conditions(products, filters):
        matches &= np.asarray(condition.fill_null(False))
    return matches


def _conditions(products: pa.Table, filters: Filters) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    conditions = []
    if filters.categories:
        conditions.append(pc.is_in(products["category"], value_set=pa.array(filters.categories, pa.string())))
    if filters.min_price is not None:
        conditions.append(pc.greater_equal(products["price"], filters.min_price))
    if filters.max_price is not None:
        conditions.append(pc.less_equal(products["price"], filters.max_price))
    if filters.in_stock is not None:
        conditions.append(pc.equal(products["in_stock"], filters.in_stock))
    return conditions
