"""Everything that runs: Airflow, MLflow, the HTTP API and the shop window, on loopback, for as long as the `with` lasts."""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from recsim_local import guarded
from recsim_local.airflow import PrivateAirflow, free_port
from recsim_local.console import say
from recsim_tasks.foundation.errors import UnavailableError

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 90.0


@dataclass(frozen=True)
class Stack:
    """Where everything is."""

    home: Path
    airflow: PrivateAirflow
    mlflow: str
    api: str
    shop: str
    servers: dict[str, Server]
    """What runs beside Airflow, by name: `mlflow`, `serving`, `shop`."""
    token: str | None = field(repr=False)
    """What the HTTP API asks for, if anything."""

    @property
    def inbox(self) -> Path:
        """Where feeds land."""
        return self.home / "inbox"

    def client(self) -> httpx.Client:
        """A client of the HTTP API."""
        return httpx.Client(
            base_url=self.api,
            headers={"Authorization": f"Bearer {self.token}"} if self.token else {},
            timeout=60,
        )

    def pages(self) -> dict[str, str]:
        """The pages a person would look at, by name."""
        login = f"{self.airflow.url}  (user {self.airflow.username}, password {self.airflow.password})"
        return {
            "Airflow": login,
            "MLflow": self.mlflow,
            "shop window": self.shop,
            "HTTP API": f"{self.api}/docs",
        }


def show_pages(stack: Stack) -> None:
    """Say where to look."""
    for name, address in stack.pages().items():
        say(f"  {name:<12} {address}")


@contextmanager
def running(home: Path, settings: dict[str, str], mlflow_credentials: str = "") -> Iterator[Stack]:
    """Start all servers with state under `home`; nothing is left running at the end.

    `settings` are `RECSIM_*` variables for every job, `mlflow_credentials` the `user:password@` with which the jobs address MLflow.
    """
    home = home.absolute()
    home.joinpath("inbox").mkdir(parents=True, exist_ok=True)
    mlflow, api, shop = (free_port() for _ in range(3))
    env = settings | _addresses(home, mlflow_credentials, mlflow, api, shop)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                _server(
                    "mlflow", _mlflow_command(home, mlflow), f"http://127.0.0.1:{mlflow}/health", home, env
                )
            ),
            stack.enter_context(
                _server(
                    "serving", [_script("recsim"), "serve"], f"http://127.0.0.1:{api}/health/live", home, env
                )
            ),
            stack.enter_context(
                _server(
                    "shop", [_script("recsim"), "shop"], f"http://127.0.0.1:{shop}/_stcore/health", home, env
                )
            ),
        ]
        airflow = stack.enter_context(PrivateAirflow(home / "airflow", ROOT / "dags", ROOT / "plugins", env))
        for server in servers:
            server.wait_until_up()
        by_name = {server.name: server for server in servers}
        token = (dict(os.environ) | env).get("RECSIM_API_TOKEN")
        yield Stack(
            home,
            airflow,
            f"http://127.0.0.1:{mlflow}",
            env["RECSIM_SERVING_URL"],
            f"http://127.0.0.1:{shop}",
            by_name,
            token,
        )


def _addresses(home: Path, mlflow_credentials: str, mlflow: int, api: int, shop: int) -> dict[str, str]:
    return {
        "RECSIM_HOME": str(home),
        "MLFLOW_TRACKING_URI": f"http://{mlflow_credentials}127.0.0.1:{mlflow}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # else a dozen idle queue workers
        "RECSIM_SERVING_URL": f"http://127.0.0.1:{api}",
        "RECSIM_PORT": str(api),
        "RECSIM_SHOP_PORT": str(shop),
    }


def _mlflow_command(home: Path, port: int) -> list[str]:
    folder = home / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    store, artifacts = f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts")
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [
        _script("mlflow"),
        "server",
        "--backend-store-uri",
        store,
        "--artifacts-destination",
        artifacts,
        *where,
    ]


def _script(name: str) -> str:
    """A console script of this very environment."""
    return str(Path(sys.executable).with_name(name))


class Server:
    """One server, which can be stopped and started again at the same address."""

    def __init__(self, name: str, command: list[str], health: str, log: Path, env: dict[str, str]) -> None:
        self.name, self.health, self.log = name, health, log
        self._command, self._env = command, env
        self.start()

    def start(self) -> None:
        """Start it; it is up some seconds later."""
        self.process = guarded.start(self._command, self.log, self._env)

    def stop(self) -> None:
        """Stop it; nothing of it is left."""
        guarded.stop(self.process)

    def wait_until_up(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.health, timeout=5):  # noqa: S310 - our own loopback address
                    return
            except OSError:
                time.sleep(0.2)
        raise UnavailableError(f"The {self.name} server does not answer at {self.health}. See {self.log}.")


@contextmanager
def _server(name: str, command: list[str], health: str, home: Path, env: dict[str, str]) -> Iterator[Server]:
    server = Server(name, command, health, home / "logs" / f"{name}.log", dict(os.environ) | env)
    try:
        yield server
    finally:
        server.stop()
