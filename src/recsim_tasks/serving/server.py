"""Run the HTTP API until it is told to stop: workers that answer, and beside them one thread that follows the registry."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import uvicorn
from uvicorn.supervisors import Multiprocess

from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.settings import Settings, count_in
from recsim_tasks.serving.champion_follower import Follower

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10
# Longer than clients keep a connection, so that they do not use one just as it is closed.
KEEP_ALIVE_SECONDS = 65
# A worker that does not answer its parent for so long is replaced.
HUNG_SECONDS = 30
# Of glibc, in workers: the pixels of a large image go back to the machine as soon as it is answered (mallopt(3)).
MEMORY = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**20)}
APP = "recsim_tasks.serving.app:for_worker"
CONNECTION = "recsim_tasks.serving.connections:Connection"


def serve(settings: Settings) -> None:
    """Serve on the settings' host and port; a worker that dies is replaced. On SIGTERM or Ctrl-C requests in flight are answered first."""
    with tempfile.TemporaryDirectory(prefix="recsim-metrics-") as metrics:
        count_in(Path(metrics))
        for name, value in MEMORY.items():
            os.environ.setdefault(name, value)
        config = uvicorn.Config(
            APP, factory=True, host=settings.host, port=settings.port, workers=settings.serving_workers, log_level="warning",
            access_log=False, timeout_graceful_shutdown=DRAIN_SECONDS, timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_worker_healthcheck=HUNG_SECONDS, http=CONNECTION, loop="uvloop", ws="none",
        )  # fmt: skip
        try:
            socket = config.bind_socket()
        except SystemExit as error:
            raise RecsimError(
                f"{settings.host}:{settings.port} cannot be listened on. Is it taken (RECSIM_PORT)?"
            ) from error
        log.info(f"HTTP API: http://{settings.host}:{settings.port}/docs")
        follower = Follower(settings)
        follower.start()
        Workers(config, [socket]).run()
        follower.stop()


class Workers(Multiprocess):
    """Worker processes behind one socket, which this process closes when it is to end: the kernel takes no connection that nobody answers."""

    def terminate_all(self) -> None:
        """Have the workers answer what they have, and then end."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()
