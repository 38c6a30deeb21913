"""Limits on requests: how many at a time, to which host, and how large and slow a body may be."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from recsim_tasks.serving.access_log import UNLOGGED
from recsim_tasks.serving.problems import problem_document
from recsim_tasks.serving.prometheus import Metrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUSY_SECONDS = "1"


class ConcurrencyLimit:
    """Middleware: handle at most `limit` requests at a time, and refuse others at once with `Retry-After`.

    uvicorn's `limit_concurrency` counts idle connections as well, and would refuse health checks.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, limit: int) -> None:
        self.app, self.metrics, self.limit, self._in_progress = app, metrics, limit, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it; health checks and metrics always pass."""
        if scope["type"] != "http" or scope["path"].startswith(UNLOGGED):
            await self.app(scope, receive, send)
        elif self._in_progress >= self.limit:
            self.metrics.refused.inc()
            detail = f"This server handles {self.limit} requests at a time. Try again in a second."
            await problem_document(503, detail, {"Retry-After": BUSY_SECONDS})(scope, receive, send)
        else:
            await self._handle(scope, receive, send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._in_progress += 1
        self.metrics.in_flight.inc()
        try:
            await self.app(scope, receive, send)
        finally:
            self._in_progress -= 1
            self.metrics.in_flight.dec()


class TrustedHost:
    """Middleware: refuse requests for other host names, such as those of a page that rebinds its DNS name.

    Starlette's `TrustedHostMiddleware` would also refuse health checks by address, and answers 400 in plain
    text.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it; health checks and metrics pass under any name."""
        if (
            scope["type"] != "http"
            or scope["path"].startswith(UNLOGGED)
            or _host_name(Headers(scope=scope).get("host", "")) in self.hosts
        ):
            await self.app(scope, receive, send)
        else:
            detail = (
                "This server does not answer under that host name. Use the address in RECSIM_SERVING_URL, "
                "or set a token (RECSIM_API_TOKEN)."
            )
            await problem_document(421, detail)(scope, receive, send)


class BodyTimeoutError(Exception):
    """The body did not arrive in time."""


class BodyLimit:
    """Middleware: refuse a body larger than `max_bytes`, or slower than `seconds`.

    The size is checked as announced, and counted as the body arrives. FastAPI's own parameter for it has no
    effect.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self.app = RequestBodyLimitMiddleware(app, max_bytes)
        self.max_bytes, self.seconds = max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it."""
        announced = dict(scope["headers"]).get(b"content-length", b"0") if scope["type"] == "http" else b"0"
        if announced.isdigit() and int(announced) > self.max_bytes:
            detail = f"The body has {int(announced):,} bytes; this server accepts {self.max_bytes:,}."
            await problem_document(413, detail)(scope, receive, send)
        elif scope["type"] == "http":
            await self._with_deadline(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _with_deadline(self, scope: Scope, receive: Receive, send: Send) -> None:
        deadline, complete = time.monotonic() + self.seconds, False

        async def receive_in_time() -> Message:
            nonlocal complete
            if complete:  # after the body, this waits for the client to disconnect
                return await receive()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    message = await receive()
            except TimeoutError as error:
                raise BodyTimeoutError from error
            complete = not message.get("more_body", False)
            return message

        try:
            await self.app(scope, receive_in_time, send)
        except BodyTimeoutError:
            detail = f"The body did not arrive within {self.seconds:g} s. Send it again."
            await problem_document(408, detail, {"Connection": "close"})(scope, receive, send)


def _host_name(host: str) -> str | None:
    """Return the name in a `Host` header, without its port; None when it is not valid."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
