"""A bundle that tests may read, a copy that they may break, and an empty MLflow on SQLite."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry.client import Registry
from release.bundles import make_bundle
from release.servers import mlflow_server


@contextmanager
def own_variables() -> Iterator[None]:
    """The registry tells MLflow by variables where and how to work; the next test must not inherit them."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def _variables_as_they_were() -> Iterator[None]:
    with own_variables():
        yield


@pytest.fixture(scope="session")
def read_only_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    make_bundle(folder)
    return folder / "release"


@pytest.fixture
def bundle(read_only_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(read_only_bundle, tmp_path / "release")


@pytest.fixture
def manifest(read_only_bundle: Path) -> Manifest:
    return Manifest.read(read_only_bundle)


@pytest.fixture
def with_registry(settings: Settings, empty_mlflow: Path) -> Settings:
    """Settings whose registry is the embedded one, empty."""
    folder = settings.home / "mlflow"
    folder.mkdir(parents=True)
    shutil.copyfile(empty_mlflow, folder / "mlflow.db")
    return settings


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as uri:
        yield uri


@pytest.fixture
def with_server(settings: Settings, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    return load_settings()


@pytest.fixture
def registry(with_registry: Settings) -> Registry:
    return Registry(with_registry)
