"""The routes that ask a release; each takes hold of one release, before it reads the body, and answers or refuses in its name."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from recsim_tasks.foundation.errors import InputError, UnavailableError
from recsim_tasks.serving.hot_swap import STARTING, Live
from recsim_tasks.serving.invocations import Invocation
from recsim_tasks.serving.pictures import media_type
from recsim_tasks.serving.problems import RELEASE_HEADER, NotFoundError
from recsim_tasks.serving.questions import Asked, PictureQuestion, Wishes, from_base64, picture_question, read_json

SHELF = ("product_id", "title", "category", "price", "in_stock")
MOST_ON_A_SHELF = 200
bearer = HTTPBearer(auto_error=False, description="The token of RECSIM_API_TOKEN, when the server has one.")


def authorised(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
    """Refuse whoever does not know the token, when there is one; compared in constant time."""
    token = request.app.state.settings.api_token
    if token is None:
        return
    known = token.get_secret_value().encode()
    if given is None or not secrets.compare_digest(given.credentials.encode(), known):
        raise HTTPException(
            401, "This server asks for its bearer token: send `Authorization: Bearer TOKEN`.", {"WWW-Authenticate": "Bearer"}
        )


def live(request: Request, response: Response) -> Live:
    """The release that answers this request."""
    current: Live | None = request.app.state.swap.current
    if current is None:
        raise UnavailableError(request.app.state.swap.problem or STARTING)
    request.state.release = current.version
    response.headers[RELEASE_HEADER] = str(current.version)
    return current


Current = Annotated[Live, Depends(live)]
router = APIRouter(dependencies=[Depends(authorised)])
FORM = {"type": "object", "required": ["image"], "properties": {"image": {"type": "string", "format": "binary"}}}
EITHER_WAY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": PictureQuestion.model_json_schema()},
            "multipart/form-data": {"schema": {**FORM, "properties": {**Wishes.model_json_schema()["properties"], **FORM["properties"]}}},  # type: ignore[dict-item]
        },
    }
}


@router.post("/v1/similar", openapi_extra=EITHER_WAY)
def similar(current: Current, asked: Annotated[Asked, Depends(picture_question)]) -> dict[str, Any]:
    """Find the products that look most like a picture."""
    return _answer(current, current.release.similar(asked.image, asked.wishes.k, asked.wishes.filters))


@router.get("/v1/products/{product_id:path}/similar")
def more_like(product_id: str, wishes: Annotated[Wishes, Query()], current: Current) -> dict[str, Any]:
    """Find the products that look most like a product, without itself."""
    _product(current, product_id)
    return _answer(current, current.release.more_like(product_id, wishes.k, wishes.filters))


@router.get("/v1/products/{product_id:path}/image", response_class=Response)
def image(request: Request, product_id: str, current: Current) -> Response:
    """Give the picture of a product, as it was delivered."""
    content = str(_product(current, product_id)["image_hash"])
    data = request.app.state.pictures.get(product_id, content)
    if data is None:
        raise NotFoundError(f"The catalogue has no product {product_id!r} any more; the next release will not show it.")
    headers = {RELEASE_HEADER: str(current.version), "ETag": f'"{content}"', "Cache-Control": "private, max-age=300"}
    return Response(data, media_type=media_type(data), headers={**headers, "X-Content-Type-Options": "nosniff"})


@router.get("/v1/products")
def shelf(
    current: Current,
    k: Annotated[int, Query(ge=1, le=MOST_ON_A_SHELF)] = 24,
    category: str | None = None,
    seed: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> dict[str, Any]:
    """Give some products to start from, the same for one `seed`, and all categories with their numbers of products."""
    items = current.release.index.items
    names = items.column("category").to_pylist()
    rows = np.array([row for row, name in enumerate(names) if category is None or name == category], np.int64)
    chosen = np.random.default_rng(seed).choice(rows, min(k, len(rows)), replace=False)
    counts = items.column("category").value_counts().to_pylist()
    categories = {pair["values"]: pair["counts"] for pair in counts if pair["values"]}
    return {**_answer(current, items.take(chosen).select(SHELF).to_pylist()), "categories": dict(sorted(categories.items()))}


@router.post("/invocations", openapi_extra={"requestBody": {"content": {"application/json": {"schema": Invocation.model_json_schema()}}}})
def invocations(current: Current, body: Annotated[Any, Depends(read_json)]) -> dict[str, Any]:
    """Answer MLflow's scoring protocol: a list of neighbours for each row."""
    asked = Invocation.model_validate(body)
    rows = [from_base64(text) for text in asked.images()]
    found = [current.release.similar(row, asked.params.k, asked.params.filters) for row in rows]
    return {"predictions": found, "release": current.version}


def _answer(current: Live, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"release": current.version, "catalogue_version": current.release.manifest.cursor.version, "results": results}


def _product(current: Live, product_id: str) -> dict[str, Any]:
    try:
        return current.release.index.product(product_id)
    except InputError as error:
        raise NotFoundError(str(error)) from error
