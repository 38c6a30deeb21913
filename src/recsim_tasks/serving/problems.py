"""Answer every error with a problem document (RFC 9457, `application/problem+json`), not with a traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from recsim_tasks.foundation.errors import InputError, MissingError, RecsimError, UnavailableError
from recsim_tasks.foundation.redaction import redacted

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RELEASE_HEADER = "X-Recsim-Release"
RETRY_SECONDS = "5"
PARAMETER_KINDS = ("query", "body", "path")
MAX_FAULTS, MAX_DETAIL_CHARS = 10, 2_000
DETAILS = {
    404: "There is no such path. All paths are listed at /docs.",
    405: "This path does not accept that method. All paths are listed at /docs.",
    413: "The body is larger than this server accepts. Send a smaller image.",
}


class NotFoundError(InputError):
    """A product that the release does not have."""


def problem_document(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Make a problem document."""
    # The detail may quote what the client sent: secrets, megabytes, lone surrogates.
    sentence = redacted(detail)[:MAX_DETAIL_CHARS].encode(errors="backslashreplace").decode()
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": sentence}
    return JSONResponse(body, status, dict(headers or {}), media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer all errors that a handler raises with problem documents."""
    app.add_exception_handler(RecsimError, _recsim_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _disconnected)


def internal_error(error: Exception) -> JSONResponse:
    """Log an unexpected error with its traceback, and answer without it."""
    log.error("A request failed", exc_info=error)
    return problem_document(500, "Internal error. The server's log has more under the id of this request.")


def _recsim_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, UnavailableError | MissingError):
        return problem_document(503, str(error), {**_release(request), "Retry-After": RETRY_SECONDS})
    status = 404 if isinstance(error, NotFoundError) else 422 if isinstance(error, InputError) else 500
    return problem_document(status, str(error), _release(request))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError | ValidationError)
    faults = list(error.errors())
    more = f"; and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
    return problem_document(422, "; ".join(_sentences(faults[:MAX_FAULTS])) + more + ".", _release(request))


def _sentences(faults: Sequence[ErrorDetails]) -> list[str]:
    return [
        f"{'.'.join(str(part) for part in fault['loc'] if part not in PARAMETER_KINDS)}: {fault['msg']}"
        for fault in faults
    ]


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code, generic = error.status_code, (HTTPStatus(error.status_code).phrase, "Content Too Large")
    detail = DETAILS.get(code, error.detail) if error.detail in generic else error.detail
    return problem_document(code, detail, {**_release(request), **(error.headers or {})})


def _disconnected(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - the handlers' signature
    """The client is gone; this counts the request as its error and not as the server's."""
    return problem_document(400, "The connection was closed before the body was complete.", _release(request))


def _release(request: Request) -> dict[str, str]:
    version = getattr(request.state, "release", None)
    return {} if version is None else {RELEASE_HEADER: str(version)}
