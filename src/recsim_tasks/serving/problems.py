"""Every refusal as one JSON object with a sentence (RFC 9457, `application/problem+json`); never a traceback."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from recsim_tasks.foundation.errors import InputError, RecsimError, UnavailableError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

RELEASE_HEADER = "X-Recsim-Release"
RETRY_SECONDS = "5"
SENTENCES = {
    404: "There is no such page. The list of all is at /docs.",
    405: "This page does not take that method. The list of all is at /docs.",
    413: "The body is larger than this server takes. Send a smaller picture.",
}


class NotFoundError(InputError):
    """What was asked for is not in the release."""


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """One refusal."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body, status, dict(headers or {}), media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Have every error that a handler raises answered as a problem."""
    app.add_exception_handler(RecsimError, _recsim_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _fault)


class BodyLimit:
    """Middleware: refuse a body larger than `most` bytes, announced or counted as it comes; FastAPI's own parameter does nothing."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = RequestBodyLimitMiddleware(app, most), most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        announced = dict(scope["headers"]).get(b"content-length", b"0") if scope["type"] == "http" else b"0"
        if announced.isdigit() and int(announced) > self.most:
            await problem(413, f"The body has {int(announced):,} bytes; this server takes {self.most:,}.")(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _recsim_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, UnavailableError):
        return problem(503, str(error), {**_release(request), "Retry-After": RETRY_SECONDS})
    status = 404 if isinstance(error, NotFoundError) else 422 if isinstance(error, InputError) else 500
    return problem(status, str(error), _release(request))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError | ValidationError)
    return problem(422, "; ".join(_sentences(error.errors())) + ".", _release(request))


def _sentences(faults: Sequence[Any]) -> list[str]:
    return [f"{'.'.join(str(part) for part in fault['loc'] if part not in ('query', 'body', 'path'))}: {fault['msg']}" for fault in faults]


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    told = error.detail if error.detail not in (HTTPStatus(error.status_code).phrase, "Content Too Large") else None
    return problem(
        error.status_code, told or SENTENCES.get(error.status_code, error.detail), {**_release(request), **(error.headers or {})}
    )


def _fault(request: Request, error: Exception) -> JSONResponse:
    traceback.print_exception(error)
    return problem(500, "This is a fault of the server; its log says more.", _release(request))


def _release(request: Request) -> dict[str, str]:
    version = getattr(request.state, "release", None)
    return {} if version is None else {RELEASE_HEADER: str(version)}
