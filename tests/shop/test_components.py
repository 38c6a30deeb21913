from __future__ import annotations

import pytest

from recsim_tasks.shop.api_client import Product, SimilarProduct
from recsim_tasks.shop.components import age, header, product_details, product_grid, unavailable

PRODUCT: SimilarProduct = {
    "product_id": "a/b?c",
    "title": "Red bag",
    "category": "Bag",
    "price": 1234.5,
    "in_stock": True,
    "score": 0.876,
}
MARKUP = '<img src=x onerror="alert(1)">'


def test_a_card_links_to_its_product_and_shows_image_price_and_score() -> None:
    html = product_grid([PRODUCT], {"a/b?c": b"jpeg"})
    assert 'href="?product=a%2Fb%3Fc"' in html
    assert "data:image/jpeg;base64,anBlZw==" in html
    assert ">1,234.50<" in html
    assert "88% similar" in html


def test_unknown_fields_are_left_out() -> None:
    bare: Product = {
        "product_id": "a/b?c",
        "title": None,
        "category": None,
        "price": None,
        "in_stock": None,
    }
    opposite: SimilarProduct = {**bare, "score": -0.1}
    html = product_grid([opposite], {})
    assert ">a/b?c<" in html
    assert "no image" in html
    assert "None" not in html
    assert "0% similar" in html
    assert "similar" not in product_grid([bare], {})


def test_a_sold_out_product_says_so_instead_of_its_price() -> None:
    sold_out: SimilarProduct = {**PRODUCT, "in_stock": False}
    html = product_grid([sold_out], {})
    assert "sold out" in html
    assert "1,234.50" not in html


def test_text_of_feeds_is_escaped() -> None:
    product: SimilarProduct = {**PRODUCT, "product_id": MARKUP, "title": MARKUP, "category": MARKUP}
    for html in (product_grid([product], {}), product_details(product), unavailable(MARKUP)):
        assert "<img" not in html
        assert "&lt;img" in html


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "seconds"),
        (59, "seconds"),
        (60, "a minute"),
        (150, "2 minutes"),
        (7200, "2 hours"),
        (86_400 * 5, "5 days"),
    ],
)
def test_an_age_is_in_the_largest_unit(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_the_header_shows_products_catalogue_and_release() -> None:
    html = header(7, 86_400.0, 61_000, 86_400.0 + 7200)
    assert "61,000 products · catalogue of 02 Jan, 00:00 UTC, 2 hours old · release 7" in html
