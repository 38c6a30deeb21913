"""Promotions as in production: MLflow, the server and its clients are separate processes."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.promotion import Promotions
from release.bundles import make_bundle
from release.registered import register, set_production
from release.servers import free_port, mlflow_server, running, script
from serving.load import LoadGenerator, wait_for

pytestmark = pytest.mark.server
SUFFIXES = {1: "-a", 2: "-b", 3: "-c"}
"""At the end of every product id of a version."""


def flip_a_byte(stored: Path) -> None:
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)


def stored_indexes(store: Path) -> set[Path]:
    return set((store / "artifacts").rglob("vectors.faiss"))


@pytest.mark.drill
def test_no_request_fails_during_promotions_refusals_rollbacks_and_an_outage_of_mlflow(
    settings: Settings, tmp_path: Path
) -> None:
    store, mlflow_port, port = tmp_path / "mlflow", free_port(), free_port()
    address, uri = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{mlflow_port}"
    settings = settings.model_copy(update={"mlflow_tracking_uri": uri})
    env = {
        "RECSIM_HOME": str(settings.home),
        "RECSIM_PORT": str(port),
        "RECSIM_SERVING_POLL_SECONDS": "0.2",
        "MLFLOW_TRACKING_URI": uri,
    }
    load = LoadGenerator(address)
    with ExitStack() as servers:
        with mlflow_server(store, mlflow_port):
            registry = Registry(settings)
            promotions = Promotions(registry)
            for version, suffix in SUFFIXES.items():
                before = stored_indexes(store)
                make_bundle(tmp_path / str(version), seed=version, suffix=suffix)
                assert (
                    register(
                        registry,
                        tmp_path / str(version) / "release",
                        refresh=f"refresh {version}",
                        against=version - 1 or None,
                    )
                    == version
                )
                (index,) = stored_indexes(store) - before
            flip_a_byte(index)
            promotions.promote(1)
            servers.enter_context(
                running([script("recsim"), "serve"], f"{address}/health/ready", tmp_path / "serve.log", env)
            )
            servers.enter_context(load.running())
            promotions.promote(2)
            wait_for(address, 2)
            with pytest.raises(InputError, match="Release 3 is damaged"):
                promotions.promote(3)
            wait_for(address, 2)
            set_production(registry, 3)  # as if its files were damaged once it was promoted
            wait_for(address, 2, "release_refused")
        wait_for(address, 2, "registry_unavailable")
        with mlflow_server(store, mlflow_port):
            wait_for(address, 2, "release_refused")
            promotions.rollback(None, "it was refused", "ada")
            wait_for(address, 2)
            promotions.rollback(1, "to the first", "ada")
            wait_for(address, 1)
            time.sleep(0.2)
    assert load.failed == []
    assert set(load.answers) == {
        (200, str(version), version, frozenset({SUFFIXES[version]})) for version in (1, 2)
    }
    assert len(load.answers) > 100
