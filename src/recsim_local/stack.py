"""Runs Airflow, MLflow, the HTTP API and the shop on loopback, for as long as a `with` block lasts."""

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
from recsim_local.airflow import PrivateAirflow
from recsim_local.console import echo
from recsim_local.ports import Ports, free_ports
from recsim_tasks.foundation.errors import UnavailableError
from recsim_tasks.foundation.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 90.0
# The folder of the demo in `RECSIM_HOME`.
DEMO = "demo"


@dataclass(frozen=True)
class Stack:
    """The running servers and their addresses."""

    home: Path
    airflow: PrivateAirflow
    mlflow: str
    api: str
    shop: str
    servers: dict[str, Server]
    """The servers beside Airflow: `mlflow`, `serving` and `shop`."""
    token: str | None = field(repr=False)
    """Bearer token of the HTTP API, if it needs one."""

    @property
    def inbox(self) -> Path:
        """The inbox of `home`."""
        return self.home / "inbox"

    def client(self) -> httpx.Client:
        """A client of the HTTP API."""
        return httpx.Client(
            base_url=self.api,
            headers={"Authorization": f"Bearer {self.token}"} if self.token else {},
            timeout=60,
        )

    def curl(self, path: str) -> str:
        """A command for a shell that sends a GET request to the HTTP API."""
        token = ' -H "Authorization: Bearer $RECSIM_API_TOKEN"' if self.token else ""
        return f"curl{token} '{self.api}{path}'"

    def pages(self) -> dict[str, str]:
        """The addresses to open, by name."""
        login = f"{self.airflow.url}  (user {self.airflow.username}, password {self.airflow.password})"
        return {
            "Airflow": login,
            "MLflow": self.mlflow,
            "Shop": self.shop,
            "HTTP API": f"{self.api}/docs",
        }


def show_pages(stack: Stack) -> None:
    """Print the addresses."""
    for name, address in stack.pages().items():
        echo(f"  {name:<12} {address}")


@contextmanager
def running(
    home: Path, settings: dict[str, str], mlflow_credentials: str = "", ports: Ports | None = None
) -> Iterator[Stack]:
    """Start all servers with state under `home`, and stop them at the end.

    :param settings: `RECSIM_*` variables for every job
    :param mlflow_credentials: `user:password@` in the address of MLflow that the jobs use
    :param ports: ports of the servers, by default any free ones
    """
    home = home.absolute()
    home.joinpath("inbox").mkdir(parents=True, exist_ok=True)
    ports = ports or free_ports()
    env = settings | _addresses(home, mlflow_credentials, ports)
    commands = {
        "mlflow": (_mlflow_command(home, ports.mlflow), f"http://127.0.0.1:{ports.mlflow}/health"),
        "serving": ([_script("recsim"), "serve"], f"http://127.0.0.1:{ports.api}/health/live"),
        "shop": ([_script("recsim"), "shop"], f"http://127.0.0.1:{ports.shop}/_stcore/health"),
    }
    servers: dict[str, Server] = {}
    with ExitStack() as stack:
        for name, (command, health) in commands.items():
            log = home / "logs" / f"{name}.log"
            servers[name] = Server(name, command, health, log, dict(os.environ) | env)
            stack.callback(servers[name].stop)
        airflow = stack.enter_context(
            PrivateAirflow(home / "airflow", ROOT / "dags", ROOT / "plugins", env, ports.airflow)
        )
        for server in servers.values():
            server.wait_until_up()
        yield Stack(
            home=home,
            airflow=airflow,
            mlflow=f"http://127.0.0.1:{ports.mlflow}",
            api=env["RECSIM_SERVING_URL"],
            shop=f"http://127.0.0.1:{ports.shop}",
            servers=servers,
            token=api_token(env),
        )


def own_locations(home: Path) -> dict[str, str]:
    """Variables that keep inbox and tables under `home`, whatever the settings of the caller name."""
    tables = ("products", "quarantine", "withdrawals", "embeddings")
    return {
        "RECSIM_INBOX": str(home.absolute() / "inbox"),
        **{f"RECSIM_{name.upper()}": str(home.absolute() / "tables" / name) for name in tables},
    }


def api_token(env: dict[str, str]) -> str | None:
    """The token of servers that start with `env`, else that of this process's own settings."""
    token = load_settings().api_token
    return env.get("RECSIM_API_TOKEN") or (token.get_secret_value() if token else None)


def _addresses(home: Path, mlflow_credentials: str, ports: Ports) -> dict[str, str]:
    return {
        "RECSIM_HOME": str(home),
        "MLFLOW_TRACKING_URI": f"http://{mlflow_credentials}127.0.0.1:{ports.mlflow}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # would start a dozen idle queue workers
        "RECSIM_SERVING_URL": f"http://127.0.0.1:{ports.api}",
        "RECSIM_PORT": str(ports.api),
        "RECSIM_SHOP_PORT": str(ports.shop),
    }


def _mlflow_command(home: Path, port: int) -> list[str]:
    folder = home / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    store, artifacts = f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts")
    storage = ["--backend-store-uri", store, "--artifacts-destination", artifacts]
    return [
        _script("mlflow"), "server", *storage, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"
    ]  # fmt: skip


def _script(name: str) -> str:
    """A console script of this environment."""
    return str(Path(sys.executable).with_name(name))


class Server:
    """A server that can be stopped and started again at the same address.

    :param health: URL that answers when the server is ready
    """

    def __init__(self, name: str, command: list[str], health: str, log: Path, env: dict[str, str]) -> None:
        self.name, self.health, self.log = name, health, log
        self._command, self._env = command, env
        self.start()

    def start(self) -> None:
        """Start it without waiting until it is ready."""
        self.process = guarded.start(self._command, self.log, self._env)

    def stop(self) -> None:
        """Stop it and its process tree."""
        guarded.stop(self.process)

    def wait_until_up(self) -> None:
        """Wait until it answers; `UnavailableError` after 90 s."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.health, timeout=5):  # noqa: S310 - our own loopback address
                    return
            except OSError:
                time.sleep(0.2)
        raise UnavailableError(f"The {self.name} server does not answer at {self.health}. See {self.log}.")
