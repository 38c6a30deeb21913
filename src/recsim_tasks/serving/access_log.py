"""The access log: an id for every request, its time in the metrics, and one line of JSON about it."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from recsim_tasks.serving.problems import RELEASE_HEADER, internal_error
from recsim_tasks.serving.prometheus import Metrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Has its own handler and level, so that it can be switched off or redirected without the rest of the log.
access = logging.getLogger("recsim_tasks.serving.access")

REQUEST_ID = "X-Request-Id"
# A client may choose the id of its request, which goes into logs and headers.
VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
UNLOGGED = ("/health/", "/metrics")


def configure_access_log() -> None:
    """Write the access log to stderr as it is: a line of JSON per request."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    access.handlers, access.propagate = [handler], False


class RequestLog:
    """Middleware: give each request an id, time it under its route's template, and log it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer 500 when it raises."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if VALID_ID.fullmatch(given) else uuid.uuid4().hex
        result: dict[str, object] = {"status": None, "release": None}

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                result.update(status=message["status"], release=headers.get(RELEASE_HEADER))
            await send(message)

        began = time.perf_counter()
        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:
            answer = internal_error(error)
            if result["status"] is None:  # a response that has started can only be broken off
                await answer(scope, receive, send_with_id)
        finally:
            self._record(scope, request_id, time.perf_counter() - began, result)

    def _record(self, scope: Scope, request_id: str, seconds: float, result: dict[str, object]) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self.metrics.requests.labels(route, result["status"]).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if not scope["path"].startswith(UNLOGGED) and access.isEnabledFor(logging.INFO):
            line = {
                "at": time.time(),
                "request_id": request_id,
                "method": scope["method"],
                "route": route,
                "ms": round(seconds * 1000, 2),
            }
            access.info("%s", json.dumps(line | result))
