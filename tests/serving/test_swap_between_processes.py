"""Promotions as they are in production: MLflow, the server and who asks it are processes of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.registry import Registry
from release.bundles import make_bundle, picture
from release.servers import free_port, mlflow_server, running, script

pytestmark = pytest.mark.server
SUFFIXES = {1: "-a", 2: "-b", 3: "-c"}
"""At the end of every product id of a version."""


@dataclass
class Asking:
    """Two threads that ask without pause, and what they were told: status, release in header and body, ends of the products' ids."""

    address: str
    told: list[tuple[int, str | None, int, frozenset[str]]] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        done = threading.Event()
        threads = [threading.Thread(target=self._ask, args=(done,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def _ask(self, done: threading.Event) -> None:
        with httpx.Client(base_url=self.address, timeout=30) as client:
            while not done.is_set():
                try:
                    answer = client.post("/v1/similar", files={"image": picture(7)}, data={"k": "10"})
                    body = answer.json()
                    ends = frozenset(row["product_id"][-2:] for row in body["results"])
                    self.told.append((answer.status_code, answer.headers.get("X-Recsim-Release"), body["release"], ends))
                except (httpx.HTTPError, ValueError, KeyError) as error:
                    self.failed.append(error)
                time.sleep(0.005)


def wait_for(address: str, release: int, problem: str) -> None:
    """Until `release` answers and the server tells `problem`, or none when that is empty."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        told = httpx.get(f"{address}/health/ready", timeout=30).json()
        if told.get("release") == release and (problem in (told["problem"] or "") if problem else told["problem"] is None):
            return
        time.sleep(0.05)
    raise AssertionError(f"no release {release} with {problem!r}: {told}")


def flip_a_byte(stored: Path) -> None:
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)


def stored_indexes(store: Path) -> set[Path]:
    return set((store / "artifacts").rglob("vectors.faiss"))


@pytest.mark.drill
def test_no_question_fails_while_releases_are_promoted_refused_and_rolled_back_and_mlflow_goes_and_comes(
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
    asking = Asking(address)
    with ExitStack() as servers:
        with mlflow_server(store, mlflow_port):
            registry = Registry(settings)
            for version, suffix in SUFFIXES.items():
                before = stored_indexes(store)
                manifest = make_bundle(tmp_path / str(version), seed=version, suffix=suffix)
                assert registry.register(tmp_path / str(version) / "release", f"refresh {version}", manifest) == version
                (index,) = stored_indexes(store) - before
            flip_a_byte(index)
            registry.promote(1)
            servers.enter_context(running([script("recsim"), "serve"], f"{address}/health/ready", tmp_path / "serve.log", env))
            servers.enter_context(asking.going_on())
            registry.promote(2)
            wait_for(address, 2, "")
            registry.promote(3)
            wait_for(address, 2, "Release 3 is refused: ")
        wait_for(address, 2, uri)
        with mlflow_server(store, mlflow_port):
            wait_for(address, 2, "Release 3 is refused: ")
            registry.rollback(None, "it was refused")
            wait_for(address, 2, "")
            registry.rollback(1, "to the first")
            wait_for(address, 1, "")
            time.sleep(0.2)
    assert asking.failed == []
    assert set(asking.told) == {(200, str(version), version, frozenset({SUFFIXES[version]})) for version in (1, 2)}
    assert len(asking.told) > 100
