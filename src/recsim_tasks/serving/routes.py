"""The routes that ask a release; each takes hold of one release, before it reads the body, and answers or refuses in its name."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from recsim_tasks.catalogue.images.base64 import from_base64
from recsim_tasks.foundation.errors import InputError, UnavailableError
from recsim_tasks.release.search_options import SearchOptions, Text
from recsim_tasks.serving.champion_follower import JUST_STARTED, Problem
from recsim_tasks.serving.hot_swap import Live
from recsim_tasks.serving.image_cache import media_type
from recsim_tasks.serving.invocations import Invocation
from recsim_tasks.serving.problems import RELEASE_HEADER, RETRY_SECONDS, NotFoundError
from recsim_tasks.serving.product_listing import SHOWN
from recsim_tasks.serving.raw_paths import AddressRoute
from recsim_tasks.serving.requests import Asked, PictureQuestion, json_body, picture_question

MOST_ON_A_SHELF = 200
ANSWER_SECONDS = 20.0
bearer = HTTPBearer(auto_error=False, description="The token of RECSIM_API_TOKEN, when the server has one.")


async def authorised(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> None:
    """Refuse whoever does not know the token, when there is one; compared in constant time."""
    token = request.app.state.settings.api_token
    if token is None:
        return
    known = token.get_secret_value().encode()
    if given is None or not secrets.compare_digest(given.credentials.encode(), known):
        raise HTTPException(
            401,
            "This server asks for its bearer token: send `Authorization: Bearer TOKEN`.",
            {"WWW-Authenticate": "Bearer"},
        )


async def live(request: Request) -> Live:
    """The release that answers this request."""
    current: Live | None = request.app.state.swap.current
    if current is None:
        problem: Problem = request.app.state.swap.problem or JUST_STARTED
        raise UnavailableError(problem.reason)
    request.state.release = current.version
    return current


@contextmanager
def core(request: Request) -> Iterator[None]:
    """Hold one of this worker's cores: decoding and embedding take one each, and a large image a quarter of a gigabyte."""
    if not request.app.state.cores.acquire(timeout=ANSWER_SECONDS):
        raise HTTPException(
            503,
            f"No core was free for {ANSWER_SECONDS:g} s. Ask again later.",
            {"Retry-After": RETRY_SECONDS},
        )
    try:
        yield
    finally:
        request.app.state.cores.release()


Current = Annotated[Live, Depends(live)]
router = APIRouter(dependencies=[Depends(authorised)], route_class=AddressRoute)
FORM: dict[str, Any] = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": {"type": "string", "format": "binary"}},
}
EITHER_WAY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": PictureQuestion.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    **FORM,
                    "properties": {**SearchOptions.model_json_schema()["properties"], **FORM["properties"]},
                }
            },
        },
    }
}


@router.post("/v1/similar", openapi_extra=EITHER_WAY)
def similar(
    request: Request, current: Current, asked: Annotated[Asked, Depends(picture_question)]
) -> JSONResponse:
    """Find the products that look most like a picture."""
    with core(request):
        return _answer(
            current,
            current.release.similar(asked.image, asked.wishes.k, asked.wishes.filters, asked.wishes.distinct),
        )


@router.get("/v1/products/{product_id:path}/similar")
def more_like(product_id: Text, wishes: Annotated[SearchOptions, Query()], current: Current) -> JSONResponse:
    """Find the products that look most like a product, without itself."""
    _product(current, product_id)
    return _answer(current, current.release.more_like(product_id, wishes.k, wishes.filters, wishes.distinct))


@router.get("/v1/products/{product_id:path}/image", response_class=Response)
def image(
    request: Request,
    product_id: Text,
    current: Current,
    side: Annotated[int | None, Query(ge=16, le=2048)] = None,
) -> Response:
    """Give the picture of a product, as it was delivered, or as a JPEG of at most `side` pixels."""
    content = str(_product(current, product_id)["image_hash"])
    with core(request):
        data = request.app.state.pictures.get(product_id, content, side)
    if data is None:
        raise NotFoundError(
            f"The catalogue has no product {product_id!r} any more; the next release will not show it."
        )
    headers = {
        RELEASE_HEADER: str(current.version),
        "ETag": f'"{content}-{side or "whole"}"',
        "Cache-Control": "private, max-age=300",
    }
    return Response(
        data, media_type=media_type(data), headers={**headers, "X-Content-Type-Options": "nosniff"}
    )


@router.get("/v1/products")
def shelf(
    current: Current,
    k: Annotated[int, Query(ge=1, le=MOST_ON_A_SHELF)] = 24,
    category: str | None = None,
    seed: Annotated[int, Query(ge=0, le=2**31)] = 0,
    page: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> JSONResponse:
    """Give a page of products to start from, in an order that `seed` decides, and all categories with their numbers of products."""
    return _answer(current, current.shelf.page(k, category, seed, page), categories=current.shelf.categories)


@router.get("/v1/products/{product_id:path}")
def product(product_id: Text, current: Current) -> JSONResponse:
    """Give what is known of one product."""
    known = _product(current, product_id)
    return _answer(current, [{name: known[name] for name in SHOWN}])


@router.post(
    "/invocations",
    openapi_extra={
        "requestBody": {"content": {"application/json": {"schema": Invocation.model_json_schema()}}}
    },
)
def invocations(request: Request, current: Current, body: Annotated[Any, Depends(json_body)]) -> JSONResponse:
    """Answer MLflow's scoring protocol: a list of neighbours for each row."""
    asked = Invocation.model_validate(body)
    found, until = [], time.monotonic() + ANSWER_SECONDS
    for row in [from_base64(text) for text in asked.images()]:
        with core(request):
            found.append(
                current.release.similar(row, asked.params.k, asked.params.filters, asked.params.distinct)
            )
        if time.monotonic() > until:
            raise HTTPException(
                503,
                f"{len(found)} rows took {ANSWER_SECONDS:g} s. Send fewer at a time.",
                {"Retry-After": RETRY_SECONDS},
            )
    return _json(current, {"predictions": found, "release": current.version})


def _answer(current: Live, results: list[dict[str, Any]], **more: Any) -> JSONResponse:
    manifest = current.release.manifest
    told = {
        "release": current.version,
        "catalogue_version": manifest.cursor.version,
        "catalogue_at": manifest.catalogue_at,
    }
    return _json(current, {**told, "results": results, **more})


def _json(current: Live, value: dict[str, Any]) -> JSONResponse:
    """Written out here, in a thread, and not on the event loop."""
    return JSONResponse(value, headers={RELEASE_HEADER: str(current.version)})


def _product(current: Live, product_id: str) -> dict[str, Any]:
    try:
        return current.release.index.product(product_id)
    except InputError as error:
        raise NotFoundError(str(error)) from error
