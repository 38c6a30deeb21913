"""What tests of several packages share: their order, settings for each test, the real images."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as limits

from recsim_tasks.foundation.prerequisites import find_browser
from recsim_tasks.foundation.settings import Settings, load_settings
from short_plans import SHORT_PLANS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from recsim_demo.fashion_mnist import FashionMnist

# Two busy cores make any draw slow now and then; how long a thing takes is for benchmarks to say.
limits.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
limits.load_profile("patient")

# pytest-xdist's processes have a main module without a name. PySpark would take that for its own doctests.
main_module = sys.modules["__main__"]
if main_module.__spec__ is None and not hasattr(main_module, "__file__"):
    main_module.__spec__ = find_spec("pytest.__main__")

# As `foundation.logging.configure` sets it, so that `caplog` has what a log would have.
logging.getLogger("recsim_tasks").setLevel(logging.INFO)

# Marks that say what a test starts; of several, the last one counts.
STARTED = ("process", "mlflow", "spark", "ml", "server", "airflow", "e2e")
# Fixtures that mark the tests that use them.
MARKED_BY_FIXTURE = {"empty_mlflow": "mlflow", "shared_spark": "spark"}
# Each runs in one process, so that its tests share one Spark session or one Airflow.
LANES = {"spark": "jobs", "ml": "jobs", "e2e": "e2e", "server": "servers", "airflow": "servers"}
# Unit tests have no mark of their own. The lanes follow, the longest first; the rest keeps every process busy
# until the last lane has ended.
ORDER = (None, *LANES, "mlflow", "process")


def pytest_addoption(parser: pytest.Parser) -> None:
    """More of what takes long: `make drill ARGS="tests/catalogue --kills 30 --histories 20"`."""
    parser.addoption("--kills", type=int, default=0, help="kill an ingest at so many more moments")
    parser.addoption(
        "--fuzz", type=int, default=150, help="send so many fuzzed requests in each test of them"
    )
    parser.addoption("--histories", type=int, default=1, help="try so many random histories of feeds")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name long bytes by their length: all processes must find the same tests, and some contain the time."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 40 else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by what it starts, and sort the tests by `ORDER`."""
    for item in items:
        _mark(item)
    items.sort(key=lambda item: ORDER.index(_started(item)))


def _mark(item: pytest.Item) -> None:
    fixtures = getattr(item, "fixturenames", ())
    for fixture, mark in MARKED_BY_FIXTURE.items():
        if fixture in fixtures:
            item.add_marker(mark)
    started = _started(item)
    if not started and not any(map(item.get_closest_marker, ("drill", "bench", "gpu"))):
        item.add_marker("unit")
    if started in LANES:
        item.add_marker(pytest.mark.xdist_group(LANES[started]))


def _started(item: pytest.Item) -> str | None:
    return next((mark for mark in reversed(STARTED) if item.get_closest_marker(mark)), None)


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    """What a test configured writes to the stderr of that test, which is closed afterwards."""
    root, access = logging.getLogger(), logging.getLogger("recsim_tasks.serving.access")
    before = root.handlers[:], access.handlers[:], access.propagate
    yield
    root.handlers, access.handlers, access.propagate = before


@pytest.fixture(autouse=True)
def _path_as_it_was() -> Iterator[None]:
    """MLflow puts a release's own copy of `recsim_tasks`, which is not whole, on the path."""
    before = sys.path[:]
    yield
    sys.path[:] = before


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
def shared_spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Spark session for all tests of this process: starting one takes longer than most of them."""
    from recsim_tasks.foundation.spark import spark_session

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_HOME", str(tmp_path_factory.mktemp("shared-spark")))
        settings = load_settings()
    # When this process ends it logs each connection that it closes: pytest has closed the log by then.
    logging.getLogger("py4j").setLevel(logging.WARNING)
    with spark_session(settings, "tests", SHORT_PLANS):
        yield


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Making MLflow's tables takes seconds: it is done once, the file is copied."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = tmp_path_factory.mktemp("mlflow")
    SqlAlchemyStore(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"))  # type: ignore[no-untyped-call]
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def fashion_mnist() -> FashionMnist:
    """The real 70,000 images."""
    from recsim_demo.fashion_mnist import load as load_fashion_mnist

    return load_fashion_mnist()
