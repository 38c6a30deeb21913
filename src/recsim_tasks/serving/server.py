"""Run the HTTP API until it is told to stop."""

from __future__ import annotations

import uvicorn

from recsim_tasks.foundation.progress import say
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.serving.app import create_app

DRAIN_SECONDS = 10


def serve(settings: Settings) -> None:
    """Serve on the settings' host and port; on SIGTERM or Ctrl-C requests in flight are answered first."""
    say(f"HTTP API: http://{settings.host}:{settings.port}/docs")
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
