"""The shop while the API and its releases come and go."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from recsim_tasks.release.registry.client import Registry
from release.registered import set_production

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from shop.conftest import Servers

pytestmark = pytest.mark.server


@pytest.mark.parametrize("page", ["desktop"], indirect=True)
def test_the_page_follows_outages_and_new_releases_without_a_restart(page: Page, servers: Servers) -> None:
    from playwright.sync_api import expect

    page.goto(servers.address)
    expect(page.get_by_text("The shop is unavailable right now")).to_be_visible()
    expect(page.get_by_text("does not answer")).to_be_visible()
    with servers.api():
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("a.card")).to_have_count(24)
        assert "release 1" in page.locator(".site-header").inner_text()
        set_production(Registry(servers.home), 2)
        deadline = time.monotonic() + 30
        while "release 2" not in page.locator(".site-header").inner_text():
            assert time.monotonic() < deadline
            page.reload()
            page.locator("a.card").first.wait_for()
    page.reload()
    expect(page.get_by_text("The shop is unavailable right now")).to_be_visible()
