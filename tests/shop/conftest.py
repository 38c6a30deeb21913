"""A shop over a served release, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.registry.client import Registry
from release.registered import set_production
from release.servers import free_port, running, script
from serving.conftest import _variables_as_they_were, registered

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["_variables_as_they_were", "registered"]
WINDOWS = {"desktop": (1280, 900), "phone": (390, 844)}


@dataclass
class Servers:
    """The API and the shop, which can be started separately."""

    home: Settings
    logs: Path
    api_port: int
    shop_port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.shop_port}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RECSIM_HOME": str(self.home.home),
            "RECSIM_PORT": str(self.api_port),
            "RECSIM_SHOP_PORT": str(self.shop_port),
            "RECSIM_SERVING_URL": f"http://127.0.0.1:{self.api_port}",
            "RECSIM_SERVING_POLL_SECONDS": "0.2",
            "RECSIM_SERVING_WORKERS": "1",
            "MLFLOW_TRACKING_URI": self.home.tracking_uri,
        }

    def api(self) -> ExitStack:
        """Start the HTTP API; the end of the block ends it."""
        return self._start("serve", f"http://127.0.0.1:{self.api_port}/health/ready")

    def shop(self) -> ExitStack:
        return self._start("shop", f"{self.address}/_stcore/health")

    def _start(self, job: str, health: str) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(
            running([script("recsim"), job], health, self.logs / f"{job}.log", self.environment)
        )
        return stack


@pytest.fixture(scope="module")
def servers(registered: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A shop whose API is not started yet."""
    logs = tmp_path_factory.mktemp("shop")
    shutil.copytree(registered, logs / "home")
    home = Settings.model_construct(home=logs / "home")
    set_production(Registry(home), 1)
    made = Servers(home, logs, free_port(), free_port())
    with made.shop():
        yield made


@pytest.fixture(scope="module")
def running_servers(servers: Servers) -> Iterator[Servers]:
    """A shop that shows release 1."""
    with servers.api():
        yield servers


@pytest.fixture(params=list(WINDOWS))
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A page of a desktop and of a phone; any error of its scripts fails the test."""
    width, height = WINDOWS[request.param]
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=request.param == "phone"
    )
    page, thrown = context.new_page(), []
    page.set_default_timeout(30_000)
    page.on("pageerror", lambda error: thrown.append(error))
    yield page
    context.close()
    assert thrown == []
