"""What tests of several packages share: their order, settings for each test, the real images."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as limits

from recsim_tasks.foundation.prerequisites import find_browser
from recsim_tasks.foundation.settings import Settings, load_settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from recsim_demo.fashion_mnist import FashionMnist

# Two busy cores make any draw slow now and then; how long a thing takes is for benchmarks to say.
limits.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
limits.load_profile("patient")

# As `foundation.logging.configure` sets it, so that `caplog` has what a log would have.
logging.getLogger("recsim_tasks").setLevel(logging.INFO)

SLOWER_AND_SLOWER = ("spark", "ml", "server", "airflow", "e2e")


def pytest_addoption(parser: pytest.Parser) -> None:
    """More of what takes long: `make drill ARGS="tests/catalogue --kills 30 --histories 20"`."""
    parser.addoption("--kills", type=int, default=0, help="kill an ingest at so many more moments")
    parser.addoption(
        "--fuzz", type=int, default=150, help="send so many fuzzed requests in each test of them"
    )
    parser.addoption("--histories", type=int, default=1, help="try so many random histories of feeds")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests, which have no mark, run first; the rest by what it starts."""
    items.sort(
        key=lambda item: max(
            (
                1 + SLOWER_AND_SLOWER.index(mark.name)
                for mark in item.iter_markers()
                if mark.name in SLOWER_AND_SLOWER
            ),
            default=0,
        )
    )


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with all locations under `tmp_path`; set variables and call `load_settings` for others."""
    for name in os.environ:
        if name.startswith("RECSIM_") or name == "MLFLOW_TRACKING_URI":
            monkeypatch.delenv(name)
    monkeypatch.setenv("RECSIM_HOME", str(tmp_path / "home"))
    return load_settings()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium. While it is open, the main thread can run no other event loop."""
    from playwright.sync_api import sync_playwright

    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"]) as browser,
    ):
        yield browser


@pytest.fixture(scope="session")
def fashion_mnist() -> FashionMnist:
    """The real 70,000 images."""
    from recsim_demo.fashion_mnist import load as load_fashion_mnist

    return load_fashion_mnist()
