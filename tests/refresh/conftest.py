"""A catalogue of 40 products, all embedded, and a champion that reflects it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.promotion import Promotions
from release.bundles import make_bundle, products
from release.conftest import _variables_as_they_were, own_variables, with_registry
from release.registered import copy_home, register

__all__ = ["_variables_as_they_were", "with_registry"]
PRODUCTS = 40


@pytest.fixture(scope="session")
def home_behind(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Path:
    """A home whose release 1 is in Production and reflects version 0 of the catalogue."""
    folder = tmp_path_factory.mktemp("behind")
    settings = Settings.model_construct(home=folder / "home")
    (settings.home / "mlflow").mkdir(parents=True)
    shutil.copyfile(empty_mlflow, settings.home / "mlflow" / "mlflow.db")
    write_deltalake(
        settings.products_uri, products(PRODUCTS), configuration={"delta.enableChangeDataFeed": "true"}
    )
    manifest = make_bundle(folder / "made", count=PRODUCTS, cursor=at_head(settings))
    embed_all(settings, Release.open(folder / "made" / "release"))
    with own_variables():
        registry = Registry(settings)
        Promotions(registry).promote(register(registry, folder / "made" / "release", manifest, "first"))
    return settings.home


@pytest.fixture
def behind(settings: Settings, home_behind: Path) -> Settings:
    """Settings of a copy of that home."""
    copy_home(home_behind, settings.home)
    return settings


def at_head(settings: Settings) -> Cursor:
    cursor = head(settings.products_uri)
    assert cursor is not None
    return cursor


def embed_all(settings: Settings, release: Release) -> None:
    """Leave in the embeddings table what the release's refresh would have left."""
    write_deltalake(settings.embeddings_uri, embeddings(release), partition_by=["model_fingerprint"])


def embeddings(release: Release) -> pa.Table:
    """The rows of a release's images in the embeddings table."""
    _, vectors = release.index.all_vectors()
    hashes = release.index.products["image_hash"]
    columns = {
        "model_fingerprint": [release.manifest.model_fingerprint] * len(hashes),
        "image_hash": hashes,
        "embedding": pa.array(list(vectors), pa.list_(pa.float32())),
        "thumbnail": release.index.products["thumbnail"].cast(pa.binary()),
    }
    return pa.table(columns)
