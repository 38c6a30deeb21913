"""The shop window on the served release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.shop.run import PAGE

if TYPE_CHECKING:
    from conftest import ThreeFeeds

pytestmark = pytest.mark.e2e


@pytest.fixture
def page(three_feeds: ThreeFeeds, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("RECSIM_SERVING_URL", three_feeds.stack.api)
    st.cache_resource.clear()
    shown = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not shown.exception
    return shown


def test_the_shelf_shows_products_and_which_release_answers(page: AppTest) -> None:
    assert [button.label for button in page.button].count("More like this") == 24
    assert any("release 2" in str(element.proto) for element in page.get("html"))


def test_a_click_shows_neighbours_that_meet_the_conditions(page: AppTest) -> None:
    page.sidebar.multiselect[0].select("Bag").run()
    next(button for button in page.button if button.label == "More like this").click().run()
    assert not page.exception
    assert any(header.value.startswith("Most like") for header in page.main.subheader)
    names = [str(element.proto) for element in page.get("html")]
    assert sum("card" in name and "Bag" in name for name in names) == 18
