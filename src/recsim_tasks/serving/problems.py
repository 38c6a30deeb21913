"""Every refusal as one JSON object with a sentence (RFC 9457, `application/problem+json`); never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from recsim_tasks.foundation.errors import InputError, MissingError, RecsimError, UnavailableError
from recsim_tasks.foundation.redaction import redacted

log = logging.getLogger(__name__)

RELEASE_HEADER = "X-Recsim-Release"
RETRY_SECONDS = "5"
MOST_TOLD, MOST_LETTERS = 10, 2_000
SENTENCES = {
    404: "There is no such page. The list of all is at /docs.",
    405: "This page does not take that method. The list of all is at /docs.",
    413: "The body is larger than this server takes. Send a smaller picture.",
}


class NotFoundError(InputError):
    """What was asked for is not in the release."""


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """One refusal."""
    sentence = (
        redacted(detail)[:MOST_LETTERS].encode(errors="backslashreplace").decode()
    )  # it may name what was sent
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": sentence}
    return JSONResponse(body, status, dict(headers or {}), media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Have every error that a handler raises answered as a problem."""
    app.add_exception_handler(RecsimError, _recsim_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _gone)


def _recsim_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, UnavailableError | MissingError):
        return problem(503, str(error), {**_release(request), "Retry-After": RETRY_SECONDS})
    status = 404 if isinstance(error, NotFoundError) else 422 if isinstance(error, InputError) else 500
    return problem(status, str(error), _release(request))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError | ValidationError)
    faults = list(error.errors())
    more = f"; and {len(faults) - MOST_TOLD} more" if len(faults) > MOST_TOLD else ""
    return problem(422, "; ".join(_sentences(faults[:MOST_TOLD])) + more + ".", _release(request))


def _sentences(faults: Sequence[Any]) -> list[str]:
    return [
        f"{'.'.join(str(part) for part in fault['loc'] if part not in ('query', 'body', 'path'))}: {fault['msg']}"
        for fault in faults
    ]


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    told = (
        error.detail
        if error.detail not in (HTTPStatus(error.status_code).phrase, "Content Too Large")
        else None
    )
    return problem(
        error.status_code,
        told or SENTENCES.get(error.status_code, error.detail),
        {**_release(request), **(error.headers or {})},
    )


def _gone(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - the handlers' signature
    """Nobody hears it, but the counts do: who hangs up is no fault of the server."""
    return problem(400, "The connection was closed before the body had come.", _release(request))


def fault(error: Exception) -> JSONResponse:
    """What nobody foresaw: the traceback goes to the log alone."""
    log.error("A request failed", exc_info=error)
    return problem(500, "This is a fault of the server; its log says more, under the id of this request.")


def _release(request: Request) -> dict[str, str]:
    version = getattr(request.state, "release", None)
    return {} if version is None else {RELEASE_HEADER: str(version)}
