"""The two servers as processes, with their start-up time and memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from recsim_local.ports import free_port
from recsim_tasks.foundation.errors import UnavailableError
from recsim_tasks.foundation.settings import Settings

READY_SECONDS = 240
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Server:
    """A running server."""

    address: str
    ready_seconds: float
    """From its start to its first successful health check."""
    process: psutil.Process

    def mib(self) -> float:
        """Return the memory of all its processes; shared pages count once."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(process.memory_full_info().pss for process in family) / 2**20


@contextmanager
def recsim_server(settings: Settings, workers: int) -> Iterator[Server]:
    """Run `recsim serve`."""
    port = free_port()
    env = {
        "RECSIM_PORT": str(port),
        "RECSIM_SERVING_WORKERS": str(workers),
        "RECSIM_SERVING_POLL_SECONDS": str(POLL_SECONDS),
    }
    with _running([_script("recsim"), "serve"], port, "/health/ready", settings, env) as server:
        yield server


@contextmanager
def mlflow_server(settings: Settings, workers: int, version: int) -> Iterator[Server]:
    """Run `mlflow models serve`."""
    port = free_port()
    options = [
        "--env-manager",
        "local",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        str(workers),
    ]
    with _running(
        [_script("mlflow"), "models", "serve", "--model-uri", f"models:/recsim/{version}", *options],
        port,
        "/health",
        settings,
        {},
    ) as server:
        yield server


@contextmanager
def _running(
    command: list[str], port: int, health: str, settings: Settings, env: dict[str, str]
) -> Iterator[Server]:
    env = {
        "RECSIM_HOME": str(settings.home),
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "PATH": _path(),
        **env,
    }
    address, began = f"http://127.0.0.1:{port}", time.monotonic()
    with (settings.home / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **env}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait(f"{address}{health}", process, log.name)
        yield Server(address, time.monotonic() - began, psutil.Process(process.pid))
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)


def _wait(health: str, process: subprocess.Popen[bytes], log: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(health, timeout=5):  # noqa: S310 - our own loopback address
                return
        except OSError:
            time.sleep(0.02)
    raise UnavailableError(f"The server at {health} does not answer:\n{Path(log).read_text()[-2000:]}")


def _path() -> str:
    """Return a PATH with this environment: MLflow starts uvicorn by name."""
    return f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
