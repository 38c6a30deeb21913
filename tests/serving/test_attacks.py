"""What a stranger can do to a real server with connections alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from benchmarks.serving.attack import Attack, Cost, measure

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.registry.client import Registry
from release.registered import set_production
from release.servers import free_port, running, script

pytestmark = pytest.mark.server
GROWTH_MIB = 200


@contextmanager
def served(home: Settings, folder: Path, files: int) -> Iterator[tuple[str, int]]:
    """`recsim serve` that may open so many files; its address and its process."""
    set_production(Registry(home), 1)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    env = {
        "RECSIM_HOME": str(home.home),
        "RECSIM_PORT": str(port),
        "RECSIM_SERVING_WORKERS": "2",
        "MLFLOW_TRACKING_URI": home.tracking_uri,
    }
    command = ["sh", "-c", f"ulimit -n {files}; exec {script('recsim')} serve"]
    with running(command, f"{address}/health/ready", folder / "serve.log", env) as process:
        yield address, process.pid


def check(cost: Cost, connections: int) -> None:
    """The attack was real, other clients were answered, and memory is flat."""
    print(cost)
    assert cost.connections >= connections * 0.9
    assert cost.header_mb > 1 or not connections
    assert cost.live_requests >= 5
    assert cost.live_failed == 0
    assert cost.memory_max_mib < cost.memory_before_mib + GROWTH_MIB


def test_slow_connections_and_endless_headers_do_not_harm_a_server_with_few_files(
    home: Settings, tmp_path: Path
) -> None:
    with served(home, tmp_path, files=256) as (address, process):
        check(measure(Attack(address, connections=700, headers=2, bodies=0), 4, process), 700)
        assert httpx.get(f"{address}/v1/products/p007/image").status_code == 200

        fed = measure(Attack(address, connections=0, headers=0, bodies=4), 4, process)
        check(fed, 0)
        assert fed.bodies >= 4


@pytest.mark.drill
def test_1500_slow_connections_and_endless_headers_do_not_harm_a_server(
    home: Settings, tmp_path: Path
) -> None:
    with served(home, tmp_path, files=4096) as (address, process):
        check(measure(Attack(address, connections=1500, headers=2, bodies=0), 30, process), 1500)
        assert httpx.get(f"{address}/v1/products/p007/image").status_code == 200
