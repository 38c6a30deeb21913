"""What only a real process behind a real socket can show."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.serving.app import MAX_BODY_BYTES
from recsim_tasks.serving.champion_follower import ChampionFollower
from release.bundles import png_image
from release.registered import set_production
from release.servers import free_port, running, script

pytestmark = pytest.mark.server


@pytest.fixture
def address(home: Settings, tmp_path: Path) -> Iterator[str]:
    set_production(Registry(home), 1)
    port = free_port()
    env = {
        "RECSIM_HOME": str(home.home),
        "RECSIM_PORT": str(port),
        "RECSIM_SERVING_WORKERS": "4",
        "MLFLOW_TRACKING_URI": home.tracking_uri,
    }
    with running(
        [script("recsim"), "serve"], f"http://127.0.0.1:{port}/health/ready", tmp_path / "serve.log", env
    ):
        yield f"127.0.0.1:{port}"


def test_recsim_serve_answers_and_limits_chunked_bodies(address: str) -> None:
    answer = httpx.post(f"http://{address}/v1/similar", files={"image": png_image(7)}, timeout=30)
    assert answer.json()["results"][0]["product_id"] == "p007"
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request(
        "POST",
        "/v1/similar",
        iter([b"x" * 2**20] * (MAX_BODY_BYTES // 2**20 + 1)),
        {"Content-Type": "application/json"},
        encode_chunked=True,
    )
    refused = connection.getresponse()
    assert refused.status == 413
    assert b"Send a smaller image" in refused.read()
    assert httpx.get(f"http://{address}/health/live").status_code == 200


def test_a_ready_server_has_a_release_in_every_worker(address: str) -> None:
    answers = [httpx.get(f"http://{address}/v1/products/p007") for _ in range(60)]
    assert {answer.status_code for answer in answers} == {200}


def test_serving_needs_no_tensorflow_no_spark_and_no_airflow(home: Settings) -> None:
    import subprocess

    code = (
        "import sys; from recsim_tasks.serving.app import create_app;"
        "from recsim_tasks.foundation.settings import Settings;"
        "from pathlib import Path;"
        f"app = create_app(Settings.model_construct(home=Path({str(home.home)!r}))); app.state.swap.poll();"
        "print(*{name.partition('.')[0] for name in sys.modules}, app.state.swap.problem)"
    )
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    set_production(Registry(home), 1)
    ChampionFollower(home).poll()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    modules = set(done.stdout.split())
    assert "None" in modules
    assert modules & {"tensorflow", "keras", "tf_keras", "horovod", "airflow", "mlflow"} == set()
