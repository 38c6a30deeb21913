"""Assemble the HTTP API."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing import parent_process
from pathlib import Path
from threading import BoundedSemaphore
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from recsim_tasks.foundation.logging import configure
from recsim_tasks.foundation.processes import die_with
from recsim_tasks.foundation.settings import Settings, load_settings, metrics_dir
from recsim_tasks.learning.devices import cpu_count
from recsim_tasks.serving import health, openapi, problems, routes
from recsim_tasks.serving.access_log import RequestLog, configure_access_log
from recsim_tasks.serving.backoff import Clock
from recsim_tasks.serving.hot_swap import HotSwap
from recsim_tasks.serving.image_cache import ImageCache
from recsim_tasks.serving.middleware import BodyLimit, ConcurrencyLimit, TrustedHost
from recsim_tasks.serving.prometheus import Metrics, delete_gauges_of_dead_workers

MAX_BODY_BYTES = 16 * 2**20
BODY_SECONDS = 20.0
DESCRIPTION = (
    "Find products by how similar their images are. Every response names the release that it comes from, "
    "in the header `X-Recsim-Release` and in its body. Every error is a problem document (RFC 9457)."
)


def create_app(settings: Settings, shared: Path | None = None, clock: Clock = time.monotonic) -> FastAPI:
    """Make the app of one worker, which serves the target of this machine while it runs.

    Workers that share the folder `shared` report their metrics together.
    """
    metrics = Metrics(shared)
    swap = HotSwap(settings, metrics, clock)

    @asynccontextmanager
    async def follow_target(_: FastAPI) -> AsyncIterator[None]:
        # A worker loads the release that is already on this machine before it takes connections.
        await run_in_threadpool(swap.poll)
        swap.start()
        yield
        swap.stop()

    app = FastAPI(
        title="recsim",
        version="1",
        description=DESCRIPTION,
        openapi_tags=openapi.TAGS,
        lifespan=follow_target,
    )
    app.state.settings, app.state.swap, app.state.metrics = settings, swap, metrics
    app.state.cpu_slots = BoundedSemaphore(max(1, cpu_count() // settings.serving_workers))
    app.state.images = ImageCache(settings.products_uri)
    _add_middleware(app, settings, metrics)
    problems.install(app)
    openapi.install(app)
    app.include_router(routes.router)
    app.include_router(health.router)
    return app


def for_worker() -> FastAPI:
    """Make the app of one of several workers, which ends when its parent process ends."""
    configure()
    configure_access_log()
    parent = parent_process()
    die_with(parent.pid if parent and parent.pid else os.getppid())
    delete_gauges_of_dead_workers(metrics_dir())
    return create_app(load_settings(), metrics_dir())


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """Add the limits and the access log. A request passes through the last one first."""
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES, seconds=BODY_SECONDS)
    app.add_middleware(ConcurrencyLimit, metrics=metrics, limit=settings.serving_concurrency)
    if settings.api_token is None:
        app.add_middleware(TrustedHost, hosts=_own_hosts(settings))
    app.add_middleware(RequestLog, metrics=metrics)


def _own_hosts(settings: Settings) -> frozenset[str]:
    public = urlsplit(settings.serving_url or "").hostname
    return frozenset({"localhost", "127.0.0.1", "::1", settings.host} | ({public} if public else set()))
