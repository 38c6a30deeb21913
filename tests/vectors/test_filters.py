from __future__ import annotations

import pyarrow as pa
import pytest

from recsim_tasks.vectors.filters import Filters, matching

PRODUCTS = pa.table(
    {
        "category": ["bag", "shoe", None, "bag"],
        "price": [10.0, 20.0, 30.0, None],
        "in_stock": [True, False, None, True],
    }
)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(categories=("bag",)), [True, False, False, True]),
        (Filters(min_price=20), [False, True, True, False]),
        (Filters(max_price=20), [True, True, False, False]),
        (Filters(in_stock=False), [False, True, False, False]),
        (Filters(categories=("bag", "shoe"), min_price=5, in_stock=True), [True, False, False, False]),
    ],
)
def test_a_product_must_meet_every_condition_and_unknown_fields_meet_none(
    filters: Filters, expected: list[bool]
) -> None:
    matches = matching(PRODUCTS, filters)
    assert matches is not None
    assert matches.tolist() == expected


def test_without_conditions_all_products_match_and_exclude_is_applied_elsewhere() -> None:
    assert matching(PRODUCTS, Filters()) is matching(PRODUCTS, Filters(exclude=("a",))) is None
