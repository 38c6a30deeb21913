"""The shop shows the release that the DAG has promoted, without a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from e2e.conftest import ThreeFeeds

pytestmark = pytest.mark.e2e


def test_the_shop_shows_the_promoted_release(three_feeds: ThreeFeeds, browser: Browser) -> None:
    from playwright.sync_api import expect

    page = browser.new_page()
    page.goto(three_feeds.stack.shop)
    expect(page.locator("a.card")).to_have_count(24, timeout=60_000)
    assert "release 2" in page.locator(".site-header").inner_text()
    page.get_by_role("radio", name="Bag").click()
    expect(page.locator("a.card i").first).to_have_text("Bag", timeout=60_000)
    page.locator("a.card").first.click()
    expect(page.get_by_text("Similar products")).to_be_visible(timeout=60_000)
    expect(page.locator("a.card")).to_have_count(12, timeout=60_000)
