"""A real MLflow server for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: list[str], health: str, log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` until the end of the block; it has 240 s to answer at `health`."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
            cwd=log.parent,
        )
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(health, timeout=5):
                    break
            except OSError:
                time.sleep(0.1)
        else:
            raise AssertionError(f"{command[:3]} does not answer at {health}:\n{log.read_text()[-3000:]}")
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@contextmanager
def mlflow_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """Run MLflow's server, which stores everything under `folder`; yields its address."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = [
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    env = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }  # else a dozen idle queue workers
    with running(
        [script("mlflow"), "server", *where, *stores],
        f"http://127.0.0.1:{port}/health",
        folder / "mlflow.log",
        env,
    ):
        yield f"http://127.0.0.1:{port}"
