"""What the server counts, for Prometheus; a registry of its own, so that several apps in a process do not add up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from recsim_tasks.release.bundle import Release

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """All measures of one server."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter("recsim_requests", "Requests by route and status.", ["route", "status"], registry=registry)
        self.seconds = Histogram("recsim_request_seconds", "Time to answer.", ["route"], buckets=BUCKETS, registry=registry)
        self.release = Gauge("recsim_release", "Version of the release that answers; 0 before the first.", registry=registry)
        self.cursor = Gauge("recsim_release_catalogue_version", "Version of the catalogue that it reflects.", registry=registry)
        self.products = Gauge("recsim_release_products", "Products that it holds.", registry=registry)
        self.swaps = Counter("recsim_swaps", "Releases that were taken (done) or refused.", ["outcome"], registry=registry)
        self.swap_problem = Gauge(
            "recsim_swap_problem", "1 while the champion is not what serves; /health/ready says why.", registry=registry
        )
        self.registry_up = Gauge("recsim_registry_up", "1 when the registry answered the last time.", registry=registry)

    def serves(self, version: int, release: Release) -> None:
        """Note which release answers from now on."""
        self.release.set(version)
        self.cursor.set(release.manifest.cursor.version)
        self.products.set(len(release.index))

    def page(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self._registry)


class Timing:
    """Middleware: count and time every request under its route's template, never under its path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status: list[Any] = [500]

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        began = time.perf_counter()
        try:
            await self.app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self.metrics.requests.labels(route, status[0]).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - began)
