from __future__ import annotations

from typing import Any

import pytest

from recsim_tasks.shop.components import about, age, bar, closed, shelf

PRODUCT: dict[str, Any] = {
    "product_id": "a/b?c",
    "title": "Red bag",
    "category": "Bag",
    "price": 1234.5,
    "in_stock": True,
    "score": 0.876,
}
MARKUP = '<img src=x onerror="alert(1)">'


def test_a_card_leads_to_the_products_page_and_shows_picture_price_and_likeness() -> None:
    html = shelf([PRODUCT], {"a/b?c": b"jpeg"})
    assert 'href="?product=a%2Fb%3Fc"' in html
    assert "data:image/jpeg;base64,anBlZw==" in html
    assert ">1,234.50<" in html
    assert "88% alike" in html


def test_what_is_not_known_is_left_out() -> None:
    html = shelf(
        [{**PRODUCT, "title": None, "category": None, "price": None, "in_stock": None} | {"score": -0.1}], {}
    )
    assert ">a/b?c<" in html
    assert "no picture" in html
    assert "None" not in html
    assert "0% alike" in html
    assert "alike" not in shelf([{name: value for name, value in PRODUCT.items() if name != "score"}], {})


def test_a_product_that_is_sold_out_says_so_instead_of_its_price() -> None:
    html = shelf([{**PRODUCT, "in_stock": False}], {})
    assert "sold out" in html
    assert "1,234.50" not in html


def test_what_a_feed_says_of_a_product_is_shown_letter_by_letter() -> None:
    product = {**PRODUCT, "product_id": MARKUP, "title": MARKUP, "category": MARKUP}
    told = {"release": MARKUP, "catalogue_at": 0}
    assert all(
        "<img" not in html
        for html in (shelf([product], {}), about(product), closed(MARKUP), bar({**told, "release": 1}, 1, 0))
    )


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
def test_an_age_is_told_in_the_largest_unit(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_the_bar_tells_products_catalogue_and_release() -> None:
    html = bar({"release": 7, "catalogue_at": 86_400.0}, 61_000, 86_400.0 + 7200)
    assert "61,000 products · catalogue of 02 Jan, 00:00 UTC, 2 hours old · release 7" in html
