"""The HTTP API, put together."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing import parent_process
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from recsim_tasks.foundation.logging import configure
from recsim_tasks.foundation.processes import die_with
from recsim_tasks.foundation.settings import Settings, counts, load_settings
from recsim_tasks.learning.devices import processors
from recsim_tasks.serving import problems
from recsim_tasks.serving.champion_follower import STATES
from recsim_tasks.serving.hot_swap import HotSwap
from recsim_tasks.serving.image_cache import Pictures
from recsim_tasks.serving.metrics import Metrics, forget_dead
from recsim_tasks.serving.middleware import Admission, BodyLimit, KnownHost, Observed
from recsim_tasks.serving.problems import RELEASE_HEADER
from recsim_tasks.serving.routes import authorised, router

MOST_BYTES = 16 * 2**20
BODY_SECONDS = 20.0
DESCRIPTION = "What looks like this? Answers come from the release in Production, which each answer names."


def create_app(settings: Settings, shared: Path | None = None) -> FastAPI:
    """Make the app; it serves what the follower names, from its start-up to its end. Workers that count together do so in the folder `shared`."""
    metrics = Metrics(shared)
    swap = HotSwap(settings, metrics)

    @asynccontextmanager
    async def following(_: FastAPI) -> AsyncIterator[None]:
        # A worker takes connections once it has what it finds; it waits for nothing that is not there yet.
        await run_in_threadpool(swap.poll)
        swap.start()
        yield
        swap.stop()

    app = FastAPI(title="recsim", version="1", description=DESCRIPTION, lifespan=following)
    app.state.settings, app.state.swap, app.state.metrics = settings, swap, metrics
    app.state.cores = BoundedSemaphore(max(1, processors() // settings.serving_workers))
    app.state.pictures = Pictures(settings.products_uri)
    app.add_middleware(BodyLimit, most=MOST_BYTES, seconds=BODY_SECONDS)
    app.add_middleware(Admission, metrics=metrics, most=settings.serving_concurrency)
    if settings.api_token is None:
        app.add_middleware(KnownHost, hosts=_own_names(settings))
    app.add_middleware(Observed, metrics=metrics)
    problems.install(app)
    app.include_router(router)
    app.add_api_route("/health/live", _live, tags=["health"])
    app.add_api_route("/health/ready", _ready, tags=["health"])
    app.add_api_route("/metrics", _metrics, tags=["health"], dependencies=[Depends(authorised)])
    return app


def for_worker() -> FastAPI:
    """Make the app of one of several workers; it ends with the process that started it."""
    configure()
    parent = parent_process()
    die_with(parent.pid if parent and parent.pid else os.getppid())
    forget_dead(counts())
    return create_app(load_settings(), counts())


def _own_names(settings: Settings) -> frozenset[str]:
    told = urlsplit(settings.serving_url or "").hostname
    return frozenset({"localhost", "127.0.0.1", "::1", settings.host} | ({told} if told else set()))


async def _live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "live"}


async def _ready(request: Request) -> JSONResponse:
    """Say which release answers, and which is the oldest of any worker; 503 until all have one. `problem` is the state that keeps the champion from serving.

    It asks for no token: what is wrong is named as one of `STATES`, and described in the server's log.
    """
    current, trouble = request.app.state.swap.current, request.app.state.swap.problem
    state = trouble.state if trouble else None
    oldest = request.app.state.metrics.oldest_release()
    if current is None or not oldest:
        return problems.problem(503, STATES[state or "starting"], {"Retry-After": problems.RETRY_SECONDS})
    manifest = current.release.manifest
    told: dict[str, Any] = {
        "status": "ready",
        "release": current.version,
        "oldest_release": oldest,
        "cursor": manifest.cursor.as_json(),
        "products": manifest.counts["products"],
        "model_fingerprint": manifest.model_fingerprint,
        "problem": state,
    }
    return JSONResponse(told, headers={RELEASE_HEADER: str(current.version)})


def _metrics(request: Request) -> Response:
    """Give all measures in Prometheus's text format."""
    return Response(request.app.state.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")
