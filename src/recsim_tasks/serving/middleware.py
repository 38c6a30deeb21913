"""What stands around every request: its id, its line in the log, its time, and how much there may be of it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from recsim_tasks.serving.metrics import Metrics
from recsim_tasks.serving.problems import RELEASE_HEADER, fault, problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = "X-Request-Id"
# What others send as an id is put into logs and headers.
PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
UNLOGGED = ("/health/", "/metrics")
BUSY_SECONDS = "1"


class Observed:
    """Middleware: give a request an id, time it under its route's template, and write a line of JSON about it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if PLAIN_ID.fullmatch(given) else uuid.uuid4().hex
        told: dict[str, object] = {"status": None, "release": None}

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                told.update(status=message["status"], release=headers.get(RELEASE_HEADER))
            await send(message)

        began = time.perf_counter()
        try:
            await self.app(scope, receive, noting)
        except Exception as error:
            answer = fault(error)
            if told["status"] is None:  # else it has begun, and can only be broken off
                await answer(scope, receive, noting)
        finally:
            self._note(scope, request_id, time.perf_counter() - began, told)

    def _note(self, scope: Scope, request_id: str, seconds: float, told: dict[str, object]) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self.metrics.requests.labels(route, told["status"]).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if not scope["path"].startswith(UNLOGGED):
            line = {
                "at": time.time(),
                "request_id": request_id,
                "method": scope["method"],
                "route": route,
                "ms": round(seconds * 1000, 2),
            }
            print(json.dumps(line | told), file=sys.stderr, flush=True)


class Admission:
    """Middleware: answer at most so many requests at a time; turn others away at once, with when to come again."""

    def __init__(self, app: ASGIApp, metrics: Metrics, most: int) -> None:
        self.app, self.metrics, self.most, self._now = app, metrics, most, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it; health is always told."""
        if scope["type"] != "http" or scope["path"].startswith(UNLOGGED):
            await self.app(scope, receive, send)
        elif self._now >= self.most:
            self.metrics.refused.inc()
            await problem(
                503,
                f"This server answers {self.most} requests at a time. Ask again in a second.",
                {"Retry-After": BUSY_SECONDS},
            )(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._now += 1
        self.metrics.in_flight.inc()
        try:
            await self.app(scope, receive, send)
        finally:
            self._now -= 1
            self.metrics.in_flight.dec()


class KnownHost:
    """Middleware: refuse a request that was sent to another name than these, as a page that rebinds its own name to this machine would."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it; health is told to whoever asks, by whichever address."""
        if scope["type"] != "http" or scope["path"].startswith(UNLOGGED):
            await self.app(scope, receive, send)
            return
        if _name(Headers(scope=scope).get("host", "")) in self.hosts:
            await self.app(scope, receive, send)
        else:
            sentence = "This server does not answer under that name. Ask it as RECSIM_SERVING_URL says, or have it ask for a token (RECSIM_API_TOKEN)."
            await problem(421, sentence)(scope, receive, send)


class BodyLateError(Exception):
    """The body did not come in time."""


class BodyLimit:
    """Middleware: refuse a body larger than `most` bytes, announced or counted as it comes, and one that takes longer than `seconds` to come.

    FastAPI's own parameter for the size does nothing.
    """

    def __init__(self, app: ASGIApp, most: int, seconds: float) -> None:
        self.app, self.most, self.seconds = RequestBodyLimitMiddleware(app, most), most, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        announced = dict(scope["headers"]).get(b"content-length", b"0") if scope["type"] == "http" else b"0"
        if announced.isdigit() and int(announced) > self.most:
            await problem(413, f"The body has {int(announced):,} bytes; this server takes {self.most:,}.")(
                scope, receive, send
            )
        elif scope["type"] == "http":
            await self._in_time(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        deadline, complete = time.monotonic() + self.seconds, False

        async def timely() -> Message:
            nonlocal complete
            if complete:  # what is waited for now is that the client goes away
                return await receive()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    message = await receive()
            except TimeoutError as error:
                raise BodyLateError from error
            complete = not message.get("more_body", False)
            return message

        try:
            await self.app(scope, timely, send)
        except BodyLateError:
            await problem(
                408,
                f"The body did not come within {self.seconds:g} s. Send it again.",
                {"Connection": "close"},
            )(scope, receive, send)


def _name(host: str) -> str | None:
    """The name of a `Host` header, without its port; None when it is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
