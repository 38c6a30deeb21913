"""Send requests to a server as fast as it answers, with wrk (https://github.com/wg/wrk)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recsim_tasks.foundation.errors import ConfigurationError, RecsimError

SCRIPT = Path(__file__).with_name("requests.lua")
NEIGHBOURS = 10


@dataclass(frozen=True)
class LoadResult:
    """How a server performed under load."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    """Responses with a status of 400 or more."""
    broken: int
    """Requests without a response."""

    @property
    def rate(self) -> float:
        """Responses per second."""
        return self.requests / self.seconds


def require_wrk() -> None:
    """Raise `ConfigurationError` unless wrk is installed."""
    if not shutil.which("wrk"):
        raise ConfigurationError(
            "This benchmark needs wrk, which is not installed. Run: sudo apt-get install wrk"
        )


def write_bodies(images: Sequence[bytes], path: Path) -> Path:
    """Write requests of one image each in MLflow's scoring protocol, which both servers accept."""
    bodies = [
        {
            "dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(image).decode()]]},
            "params": {"k": NEIGHBOURS},
        }
        for image in images
    ]
    path.write_text("\n".join(map(json.dumps, bodies)) + "\n")
    return path


def run_load(address: str, clients: int, seconds: int, bodies: Path) -> LoadResult:
    """Let `clients` send requests to `address` for `seconds`, each as soon as it has a response.

    Raises `RecsimError` when a request fails.
    """
    command = [
        "wrk",
        "-t",
        "1",
        "-c",
        str(clients),
        "-d",
        f"{seconds}s",
        "--timeout",
        "30s",
        "-s",
        str(SCRIPT),
        f"{address}/invocations",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "RECSIM_BENCH_BODIES": str(bodies)},
    )
    result = LoadResult(**json.loads(done.stdout.splitlines()[-1]))
    if result.refused or result.broken or not result.requests:
        raise RecsimError(
            f"{address} refused {result.refused} and broke {result.broken} of {result.requests} requests "
            f"of {clients} clients."
        )
    return result
