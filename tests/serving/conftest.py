"""A catalogue, two registered releases of it, and apps that serve them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from deltalake import write_deltalake
from fastapi import FastAPI
from fastapi.testclient import TestClient

from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.serving.app import create_app
from recsim_tasks.serving.champion_follower import ChampionFollower
from release.bundles import make_bundle, products
from release.registered import register, set_production

LOCAL = "http://127.0.0.1:8000"


@pytest.fixture(scope="session", autouse=True)
def _variables_as_they_were() -> Iterator[None]:
    """The registry configures MLflow by variables, which tests of other packages must not inherit."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Path:
    """A home with versions 1 and 2 in Staging.

    Their models differ, and all product ids of version 2 end in -b, so that an answer shows its release.
    """
    home = tmp_path_factory.mktemp("registered")
    write_deltalake(str(home / "tables" / "products"), products(40))
    cursor = head(str(home / "tables" / "products"))
    assert cursor is not None
    (home / "mlflow").mkdir()
    shutil.copyfile(empty_mlflow, home / "mlflow" / "mlflow.db")
    registry = Registry(Settings.model_construct(home=home))
    for version, suffix in ((1, ""), (2, "-b")):
        folder = home / "made" / str(version)
        make_bundle(folder, seed=version, suffix=suffix, cursor=cursor)
        assert (
            register(registry, folder / "release", refresh=f"refresh {version}", against=version - 1 or None)
            == version
        )
    return home


@pytest.fixture
def home(registered: Path, tmp_path: Path) -> Settings:
    """Settings of a copy, in which nothing is promoted yet."""
    shutil.copytree(registered, tmp_path / "home")
    return Settings.model_construct(home=tmp_path / "home")


@pytest.fixture
def own_files(home: Settings, registered: Path) -> Path:
    """The artifacts of the copy, for tests that damage them: its versions name its own files."""
    with closing(sqlite3.connect(home.home / "mlflow" / "mlflow.db")) as database, database:
        where = (str(registered), str(home.home))
        database.execute(
            "UPDATE model_versions SET storage_location = replace(storage_location, ?, ?)", where
        )
    return home.home / "mlflow" / "artifacts"


@pytest.fixture(scope="session")
def serving_one(registered: Path, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """An app that serves release 1 and never swaps, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("serving") / "home"
    shutil.copytree(registered, folder)
    settings = Settings.model_construct(home=folder)
    set_production(Registry(settings), 1)
    ChampionFollower(settings).poll()
    app = create_app(settings)
    app.state.swap.poll()
    assert app.state.swap.problem is None
    return app


@pytest.fixture(scope="session")
def client(serving_one: FastAPI) -> TestClient:
    return TestClient(serving_one, LOCAL, raise_server_exceptions=False)  # without its lifespan: no thread
