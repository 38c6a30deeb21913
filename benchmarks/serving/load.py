"""Ask a server as fast as it answers, with wrk (https://github.com/wg/wrk)."""

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

SCRIPT = Path(__file__).with_name("questions.lua")
NEIGHBOURS = 10


@dataclass(frozen=True)
class Answered:
    """What a server did under load."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    """Answers with a status of 400 or more."""
    broken: int
    """Questions without an answer."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


def need_wrk() -> None:
    """`ConfigurationError` where wrk is not installed."""
    if not shutil.which("wrk"):
        raise ConfigurationError(
            "This benchmark asks with wrk, which is missing. Run: sudo apt-get install wrk"
        )


def write_bodies(pictures: Sequence[bytes], path: Path) -> Path:
    """Questions in MLflow's scoring protocol, a picture each, that both servers take."""
    bodies = [
        {
            "dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(picture).decode()]]},
            "params": {"k": NEIGHBOURS},
        }
        for picture in pictures
    ]
    path.write_text("\n".join(map(json.dumps, bodies)) + "\n")
    return path


def ask(address: str, clients: int, seconds: int, bodies: Path) -> Answered:
    """Have `clients` ask `address` for `seconds`, each as soon as it is answered; `RecsimError` when not every question got a good answer."""
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
    found = Answered(**json.loads(done.stdout.splitlines()[-1]))
    if found.refused or found.broken or not found.requests:
        raise RecsimError(
            f"{address} refused {found.refused} and broke {found.broken} of {found.requests} questions of {clients} clients."
        )
    return found
