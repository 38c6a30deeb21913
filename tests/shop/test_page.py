from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import recsim_tasks.shop.run as run
from recsim_tasks.foundation.settings import Settings

pytestmark = pytest.mark.server


def test_without_an_api_the_page_says_what_to_do(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSIM_SERVING_URL", "http://127.0.0.1:1")
    page = AppTest.from_file(str(Path(run.PAGE)), default_timeout=30).run()
    assert not page.exception
    shown = "".join(str(element.proto) for element in page.get("html"))
    assert "The shop is unavailable right now" in shown
    assert "RECSIM_SERVING_URL" in shown
