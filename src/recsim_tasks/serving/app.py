"""The HTTP API, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.serving import problems
from recsim_tasks.serving.hot_swap import HotSwap
from recsim_tasks.serving.metrics import Metrics, Timing
from recsim_tasks.serving.pictures import Pictures
from recsim_tasks.serving.problems import RELEASE_HEADER, BodyLimit
from recsim_tasks.serving.routes import authorised, router

MOST_BYTES = 16 * 2**20
DESCRIPTION = "What looks like this? Answers come from the release in Production, which each answer names."


def create_app(settings: Settings) -> FastAPI:
    """Make the app; it follows the registry's champion from its start-up to its end."""
    metrics = Metrics()
    swap = HotSwap(settings, metrics)

    @asynccontextmanager
    async def following(_: FastAPI) -> AsyncIterator[None]:
        swap.start()
        yield
        swap.stop()

    app = FastAPI(title="recsim", version="1", description=DESCRIPTION, lifespan=following)
    app.state.settings, app.state.swap, app.state.metrics = settings, swap, metrics
    app.state.pictures = Pictures(settings.products_uri)
    app.add_middleware(BodyLimit, most=MOST_BYTES)
    app.add_middleware(Timing, metrics=metrics)
    problems.install(app)
    app.include_router(router)
    app.add_api_route("/health/live", _live, tags=["health"])
    app.add_api_route("/health/ready", _ready, tags=["health"])
    app.add_api_route("/metrics", _metrics, tags=["health"], dependencies=[Depends(authorised)])
    return app


def _live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "live"}


def _ready(request: Request) -> JSONResponse:
    """Say which release answers; 503 until there is one. `problem` tells why it is not the champion."""
    current, trouble = request.app.state.swap.current, request.app.state.swap.problem
    if current is None:
        return problems.problem(503, str(trouble), {"Retry-After": problems.RETRY_SECONDS})
    manifest = current.release.manifest
    told: dict[str, Any] = {
        "status": "ready",
        "release": current.version,
        "cursor": manifest.cursor.as_json(),
        "products": manifest.counts["products"],
        "model_fingerprint": manifest.model_fingerprint,
        "problem": trouble,
    }
    return JSONResponse(told, headers={RELEASE_HEADER: str(current.version)})


def _metrics(request: Request) -> Response:
    """Give all measures in Prometheus's text format."""
    return Response(request.app.state.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")
