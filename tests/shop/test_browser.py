"""The shop window as a visitor sees it: a real browser, at a desk and on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release.bundles import picture

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from conftest import Window

pytestmark = pytest.mark.server
SHELF = 24


def cards(page: Page) -> Locator:
    return page.locator("a.card")


def visit(page: Page, window: Window, address: str = "", count: int = SHELF) -> None:
    """Open the page and wait for its products."""
    from playwright.sync_api import expect

    page.goto(f"{window.address}/{address}")
    expect(cards(page)).to_have_count(count)


def titles(page: Page) -> list[str]:
    return cards(page).locator("b").all_inner_texts()


def test_a_visitor_browses_opens_a_product_and_sees_what_looks_like_it(
    page: Page, open_window: Window
) -> None:
    from playwright.sync_api import expect

    visit(page, open_window)
    assert "release 1" in page.locator(".bar").inner_text()
    assert all(
        source.startswith("data:image/jpeg")
        for source in [card.get_attribute("src") or "" for card in page.locator("a.card img").all()]
    )
    name = titles(page)[3]
    cards(page).nth(3).click()
    expect(page.locator(".about h2")).to_have_text(name)
    expect(page.get_by_text("Looks like this")).to_be_visible()
    expect(cards(page)).to_have_count(12)
    shown = page.locator(".alike").all_inner_texts()
    shares = [int(text.partition("%")[0]) for text in shown]
    assert shares == sorted(shares, reverse=True)
    assert name not in titles(page)
    page.get_by_role("button", name="Back to the shelf").click()
    expect(cards(page)).to_have_count(SHELF)


def test_a_category_and_its_pages_can_be_sent_to_somebody(page: Page, open_window: Window) -> None:
    from playwright.sync_api import expect

    visit(page, open_window)
    first = titles(page)
    page.get_by_role("button", name="More").click()
    expect(cards(page)).to_have_count(16)
    assert not set(first) & set(titles(page)), "a product is on one page"
    page.get_by_role("button", name="Before").click()
    expect(cards(page)).to_have_count(SHELF)
    page.get_by_role("radio", name="rings").click()
    expect(cards(page)).to_have_count(20)
    assert set(cards(page).locator("i").all_inner_texts()) == {"rings"}
    visit(page, open_window, page.url.rpartition("/")[2], 20)


def test_filters_narrow_what_is_shown(page: Page, open_window: Window) -> None:
    from playwright.sync_api import expect

    visit(page, open_window, "?product=p005", 12)
    page.get_by_text("Filter", exact=True).click()
    page.get_by_text("In stock only").click()
    page.get_by_label("Up to price").fill("20")
    page.get_by_label("Up to price").press("Enter")
    expect(cards(page)).to_have_count(6)
    assert set(titles(page)) == {f"Product {number}" for number in (1, 2, 4, 7, 8, 10)}


def test_a_photo_finds_what_looks_like_it_and_what_is_none_gets_a_clear_word(
    page: Page, open_window: Window
) -> None:
    from playwright.sync_api import expect

    visit(page, open_window)
    page.get_by_text("Search by photo").click()
    chooser = page.locator("input[type=file]")
    chooser.set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": picture(7)})
    expect(page.get_by_text("Looks like your photo")).to_be_visible()
    expect(cards(page).first.locator("b")).to_have_text("Product 7")
    expect(page.locator(".alike").first).to_have_text("100% alike")
    chooser.set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": b"no picture at all"})
    expect(page.get_by_text("This picture cannot be used")).to_be_visible()
    assert page.get_by_test_id("stException").count() == 0


@pytest.mark.parametrize(
    "address",
    [
        "?product=nothing",
        "?page=many",
        "?page=-1",
        "?page=99999999999999999999",
        "?product=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
    ],
)
def test_an_address_that_makes_no_sense_shows_the_shelf(
    page: Page, open_window: Window, address: str
) -> None:
    said: list[str] = []
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    visit(page, open_window, address)
    assert page.get_by_test_id("stException").count() == 0
    assert said == []


def test_nothing_is_wider_than_the_window(page: Page, open_window: Window) -> None:
    visit(page, open_window)
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("window.innerWidth")
        boxes = [card.bounding_box() for card in cards(page).all()]
        assert all(
            box and box["x"] >= 0 and box["x"] + box["width"] <= page.evaluate("window.innerWidth")
            for box in boxes
        )
        visit(page, open_window, "?product=p001", 12)
