from __future__ import annotations

import pyarrow as pa
import pytest

from recsim_tasks.serving.product_listing import ProductListing

SIZE = 20


@pytest.fixture(scope="module")
def listing() -> ProductListing:
    columns = {
        "product_id": [f"p{n}" for n in range(SIZE)],
        "title": ["t"] * SIZE,
        "category": [(None, "bag", "", "shoe")[n % 4] for n in range(SIZE)],
        "price": [1.0] * SIZE,
        "in_stock": [True] * SIZE,
        "image_hash": ["h"] * SIZE,
    }
    return ProductListing(pa.table(columns))


def ids(listing: ProductListing, category: str | None, size: int, seed: int = 0) -> list[list[str]]:
    pages = [listing.page(category, size=size, seed=seed, number=n) for n in range(SIZE // size + 1)]
    return [[str(row["product_id"]) for row in page] for page in pages]


def test_pages_hold_every_product_once_in_an_order_that_the_seed_determines(listing: ProductListing) -> None:
    pages = ids(listing, None, 8)
    assert [len(page) for page in pages] == [8, 8, 4]
    assert sorted(name for page in pages for name in page) == sorted(f"p{n}" for n in range(SIZE))
    assert pages == ids(listing, None, 8) != ids(listing, None, 8, seed=1)


def test_a_category_holds_its_products_alone_and_unnamed_ones_are_not_listed(listing: ProductListing) -> None:
    assert set(ids(listing, "bag", SIZE)[0]) == {f"p{n}" for n in range(1, SIZE, 4)}
    assert ids(listing, "unknown", SIZE) == [[], []]
    assert listing.categories == {"bag": 5, "shoe": 5}


def test_internal_fields_are_not_listed(listing: ProductListing) -> None:
    (row,) = listing.page(None, size=1, seed=0, number=0)
    assert list(row) == ["product_id", "title", "category", "price", "in_stock"]
