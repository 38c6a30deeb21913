"""Run the HTTP API until it is stopped: worker processes, and one thread that follows the registry."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import uvicorn
from uvicorn.supervisors import Multiprocess

from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.settings import Settings, set_metrics_dir
from recsim_tasks.serving.champion_follower import ChampionFollower

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10
# Longer than clients keep connections, so that they never use one that is just being closed.
KEEP_ALIVE_SECONDS = 65
# A worker that does not answer its parent for this long is replaced.
HUNG_SECONDS = 30
# For glibc (mallopt(3)): memory of a large image is returned to the system right after the response.
MEMORY = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**20)}
APP = "recsim_tasks.serving.app:for_worker"
CONNECTION = "recsim_tasks.serving.connections:Connection"


def serve(settings: Settings) -> None:
    """Serve on the settings' host and port, and replace workers that die.

    On SIGTERM or Ctrl-C, requests in progress are answered first.
    """
    with tempfile.TemporaryDirectory(prefix="recsim-metrics-") as metrics:
        set_metrics_dir(Path(metrics))
        for name, value in MEMORY.items():
            os.environ.setdefault(name, value)
        config = _config(settings)
        try:
            socket = config.bind_socket()
        except SystemExit as error:
            raise RecsimError(
                f"Cannot listen on {settings.host}:{settings.port}. Is the port in use (RECSIM_PORT)?"
            ) from error
        log.info("HTTP API: http://%s:%d/docs", settings.host, settings.port)
        follower = ChampionFollower(settings)
        follower.start()
        try:
            Workers(config, [socket]).run()
        finally:
            follower.stop()


def _config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        APP,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.serving_workers,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_worker_healthcheck=HUNG_SECONDS,
        http=CONNECTION,
        loop="uvloop",
        ws="none",
    )


class Workers(Multiprocess):
    """Worker processes behind one socket.

    On shutdown this process closes the socket first, so that the kernel accepts no more connections.
    """

    def terminate_all(self) -> None:
        """Stop accepting connections; workers finish their requests and end."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()
