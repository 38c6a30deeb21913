"""What the routes depend on: the token, the release that answers, and a free CPU."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from recsim_tasks.foundation.errors import UnavailableError
from recsim_tasks.release.search_options import Text
from recsim_tasks.serving.hot_swap import ServedRelease
from recsim_tasks.serving.problems import RETRY_SECONDS
from recsim_tasks.serving.target import JUST_STARTED, Problem

ANSWER_SECONDS = 20.0
bearer = HTTPBearer(auto_error=False, description="The token in RECSIM_API_TOKEN, if the server has one.")


async def require_token(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> None:
    """Refuse requests without the server's token, if it has one; compared in constant time."""
    token = request.app.state.settings.api_token
    if token is None:
        return
    expected = token.get_secret_value().encode()
    if given is None or not secrets.compare_digest(given.credentials.encode(), expected):
        raise HTTPException(
            401,
            "This server requires its bearer token: send `Authorization: Bearer TOKEN`.",
            {"WWW-Authenticate": "Bearer"},
        )


async def served_release(request: Request) -> ServedRelease:
    """Return the release that answers this request."""
    current: ServedRelease | None = request.app.state.swap.current
    if current is None:
        problem: Problem = request.app.state.swap.problem or JUST_STARTED
        raise UnavailableError(problem.reason)
    request.state.release = current.version
    return current


@contextmanager
def cpu_slot(request: Request) -> Iterator[None]:
    """Take one of this worker's CPUs: decoding and embedding use one each, and 250 MB for a large image."""
    if not request.app.state.cpu_slots.acquire(timeout=ANSWER_SECONDS):
        detail = f"No CPU was free for {ANSWER_SECONDS:g} s. Try again later."
        raise HTTPException(503, detail, {"Retry-After": RETRY_SECONDS})
    try:
        yield
    finally:
        request.app.state.cpu_slots.release()


Served = Annotated[ServedRelease, Depends(served_release)]
ProductId = Annotated[
    Text, Path(description="Id of a product, percent-encoded: a slash in it is sent as `%2F`.")
]
