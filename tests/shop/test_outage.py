"""The shop window while what it shows comes and goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from recsim_tasks.release.registry.client import Registry
from release.registered import set_production

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from conftest import Window

pytestmark = pytest.mark.server


@pytest.mark.parametrize("page", ["desktop"], indirect=True)
def test_the_window_says_when_nothing_serves_and_follows_what_does_without_a_restart(
    page: Page, window: Window
) -> None:
    from playwright.sync_api import expect

    page.goto(window.address)
    expect(page.get_by_text("The shop window is empty for the moment")).to_be_visible()
    expect(page.get_by_text("does not answer")).to_be_visible()
    with window.api():
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("a.card")).to_have_count(24)
        assert "release 1" in page.locator(".bar").inner_text()
        set_production(Registry(window.home), 2)
        deadline = time.monotonic() + 30
        while "release 2" not in page.locator(".bar").inner_text():
            assert time.monotonic() < deadline
            page.reload()
            page.locator("a.card").first.wait_for()
    page.reload()
    expect(page.get_by_text("The shop window is empty for the moment")).to_be_visible()
