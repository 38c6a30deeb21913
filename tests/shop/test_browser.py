"""The shop in a real browser, on a desktop and on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release.bundles import png_image

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Locator, Page

    from shop.conftest import Servers

pytestmark = pytest.mark.server
PAGE_SIZE = 24


def cards(page: Page) -> Locator:
    return page.locator("a.card")


def visit(page: Page, servers: Servers, address: str = "", count: int = PAGE_SIZE) -> None:
    """Open the page and wait for its products."""
    from playwright.sync_api import expect

    page.goto(f"{servers.address}/{address}")
    expect(cards(page)).to_have_count(count)


def titles(page: Page) -> list[str]:
    return cards(page).locator("b").all_inner_texts()


def test_a_visitor_browses_and_opens_a_product_with_similar_ones(
    page: Page, running_servers: Servers
) -> None:
    from playwright.sync_api import expect

    visit(page, running_servers)
    assert "release 1" in page.locator(".site-header").inner_text()
    assert all(
        source.startswith("data:image/jpeg")
        for source in [card.get_attribute("src") or "" for card in page.locator("a.card img").all()]
    )
    name = titles(page)[3]
    cards(page).nth(3).click()
    expect(page.locator(".details h2")).to_have_text(name)
    expect(page.get_by_text("Similar products")).to_be_visible()
    expect(cards(page)).to_have_count(12)
    shown = page.locator(".score").all_inner_texts()
    shares = [int(text.partition("%")[0]) for text in shown]
    assert shares == sorted(shares, reverse=True)
    assert name not in titles(page)
    page.get_by_role("button", name="Back to all products").click()
    expect(cards(page)).to_have_count(PAGE_SIZE)


def test_the_url_of_a_category_can_be_shared(page: Page, running_servers: Servers) -> None:
    from playwright.sync_api import expect

    visit(page, running_servers)
    first = titles(page)
    page.get_by_role("button", name="Next").click()
    expect(cards(page)).to_have_count(16)
    assert not set(first) & set(titles(page)), "a product is on one page"
    page.get_by_role("button", name="Previous").click()
    expect(cards(page)).to_have_count(PAGE_SIZE)
    page.get_by_role("radio", name="rings").click()
    expect(cards(page)).to_have_count(20)
    assert set(cards(page).locator("i").all_inner_texts()) == {"rings"}
    visit(page, running_servers, page.url.rpartition("/")[2], 20)


def test_filters_narrow_the_results(page: Page, running_servers: Servers) -> None:
    from playwright.sync_api import expect

    visit(page, running_servers, "?product=p005", 12)
    page.get_by_text("Filter", exact=True).click()
    page.get_by_text("In stock only").click()
    page.get_by_label("Maximum price").fill("20")
    page.get_by_label("Maximum price").press("Enter")
    expect(cards(page)).to_have_count(6)
    assert set(titles(page)) == {f"Product {number}" for number in (1, 2, 4, 7, 8, 10)}


def test_a_photo_finds_similar_products_and_a_bad_file_gets_a_clear_message(
    page: Page, running_servers: Servers
) -> None:
    from playwright.sync_api import expect

    visit(page, running_servers)
    page.get_by_text("Search by photo").click()
    chooser = page.locator("input[type=file]")
    chooser.set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": png_image(7)})
    expect(page.get_by_text("Similar to your photo")).to_be_visible()
    expect(cards(page).first.locator("b")).to_have_text("Product 7")
    expect(page.locator(".score").first).to_have_text("100% similar")
    chooser.set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": b"no image at all"})
    expect(page.get_by_text("This image cannot be used")).to_be_visible()
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
def test_an_invalid_url_shows_the_list_of_products(
    page: Page, running_servers: Servers, address: str
) -> None:
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    visit(page, running_servers, address)
    assert page.get_by_test_id("stException").count() == 0
    assert dialogs == []


def test_nothing_is_wider_than_the_viewport(page: Page, running_servers: Servers) -> None:
    visit(page, running_servers)
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("window.innerWidth")
        boxes = [card.bounding_box() for card in cards(page).all()]
        assert all(
            box and box["x"] >= 0 and box["x"] + box["width"] <= page.evaluate("window.innerWidth")
            for box in boxes
        )
        visit(page, running_servers, "?product=p001", 12)
