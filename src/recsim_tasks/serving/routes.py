"""The routes of the API; a request takes one release before its body is read, and answers in its name."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from recsim_tasks.catalogue.images.base64 import from_base64
from recsim_tasks.catalogue.schema import ANSWERED, ProductFields
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.release.search_options import SearchOptions
from recsim_tasks.serving import openapi
from recsim_tasks.serving.dependencies import (
    ANSWER_SECONDS,
    ProductId,
    Served,
    cpu_slot,
    require_token,
)
from recsim_tasks.serving.hot_swap import ServedRelease
from recsim_tasks.serving.image_cache import media_type
from recsim_tasks.serving.invocations import InvocationRequest
from recsim_tasks.serving.problems import RELEASE_HEADER, RETRY_SECONDS, NotFoundError
from recsim_tasks.serving.raw_paths import RawPathRoute
from recsim_tasks.serving.requests import ImageQuery, image_query, json_body
from recsim_tasks.serving.responses import Predictions, ProductPage, SimilarProducts, SingleProduct

MAX_PAGE_SIZE = 200
MAX_NUMBER = 2**31
router = APIRouter(
    dependencies=[Depends(require_token)],
    route_class=RawPathRoute,
    responses=openapi.error_responses(openapi.UNAUTHORISED, openapi.INVALID, openapi.NOT_READY),
)


@router.post(
    "/v1/similar",
    operation_id="search_by_image",
    summary="Find products similar to an image",
    tags=["search"],
    response_model=SimilarProducts,
    responses=openapi.error_responses(openapi.BAD_BODY, openapi.UNSUPPORTED),
    openapi_extra=openapi.image_request(),
)
def search_by_image(
    request: Request, served: Served, query: Annotated[ImageQuery, Depends(image_query)]
) -> JSONResponse:
    """Send the image as JSON in base64, or upload it as `multipart/form-data`."""
    options = query.options
    with cpu_slot(request):
        results = served.release.similar(query.image, options.k, options.filters, options.distinct)
    return _answer(served, results)


@router.get(
    "/v1/products/{product_id:path}/similar",
    operation_id="search_by_product",
    summary="Find products similar to a product",
    tags=["search"],
    response_model=SimilarProducts,
    responses=openapi.error_responses(openapi.NOT_FOUND),
)
def search_by_product(
    product_id: ProductId, options: Annotated[SearchOptions, Query()], served: Served
) -> JSONResponse:
    """The product itself is not among the results."""
    _product(served, product_id)
    results = served.release.more_like(product_id, options.k, options.filters, options.distinct)
    return _answer(served, results)


@router.get(
    "/v1/products/{product_id:path}/image",
    operation_id="get_product_image",
    summary="Get the image of a product",
    tags=["products"],
    response_class=Response,
    responses={
        200: {
            "description": "The image.",
            "content": {name: {} for name in ("image/jpeg", "image/png", "image/webp")},
        },
        **openapi.error_responses(openapi.NOT_FOUND),
    },
)
def get_product_image(
    request: Request,
    product_id: ProductId,
    served: Served,
    side: Annotated[
        int | None,
        Query(
            ge=16, le=2048, description="Longest side in pixels; a JPEG of this size instead of the original."
        ),
    ] = None,
) -> Response:
    """Returns the image as delivered, or as a JPEG that is at most `side` pixels wide and high."""
    image_hash = str(_product(served, product_id)["image_hash"])
    cursor = served.release.manifest.cursor
    with cpu_slot(request):
        data = request.app.state.images.get(cursor, product_id, image_hash, side)
    if data is None:
        raise NotFoundError(
            f"The catalogue no longer has the image of product {product_id!r} in this release."
        )
    headers = {
        RELEASE_HEADER: str(served.version),
        "ETag": f'"{image_hash}-{side or "whole"}"',
        "Cache-Control": "private, max-age=300",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(data, media_type=media_type(data), headers=headers)


@router.get(
    "/v1/products",
    operation_id="list_products",
    summary="List products",
    tags=["products"],
    response_model=ProductPage,
)
def list_products(
    served: Served,
    k: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE, description="Products per page.")] = 24,
    category: Annotated[str | None, Query(description="List only products of this category.")] = None,
    seed: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="Determines the order.")] = 0,
    page: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="Number of the page, from 0.")] = 0,
) -> JSONResponse:
    """Returns a page of products in a random order that `seed` determines, and all categories."""
    results = served.listing.page(category, size=k, seed=seed, number=page)
    return _answer(served, results, categories=served.listing.categories)


@router.get(
    "/v1/products/{product_id:path}",
    operation_id="get_product",
    summary="Get a product",
    tags=["products"],
    response_model=SingleProduct,
    responses=openapi.error_responses(openapi.NOT_FOUND),
)
def get_product(product_id: ProductId, served: Served) -> JSONResponse:
    """Returns the fields of one product."""
    product = _product(served, product_id)
    return _answer(served, [{name: product[name] for name in ANSWERED}])


@router.post(
    "/invocations",
    operation_id="invoke",
    summary="Score images by MLflow's protocol",
    tags=["mlflow"],
    response_model=Predictions,
    responses=openapi.error_responses(openapi.BAD_BODY),
    openapi_extra=openapi.json_request(InvocationRequest),
)
def invoke(request: Request, served: Served, body: Annotated[Any, Depends(json_body)]) -> JSONResponse:
    """Returns a list of similar products for each row."""
    invocation = InvocationRequest.model_validate(body)
    options, deadline = invocation.params, time.monotonic() + ANSWER_SECONDS
    predictions: list[list[ProductFields]] = []
    for image in [from_base64(text) for text in invocation.images()]:
        with cpu_slot(request):
            predictions.append(served.release.similar(image, options.k, options.filters, options.distinct))
        if time.monotonic() > deadline:
            detail = f"{len(predictions)} rows took {ANSWER_SECONDS:g} s. Send fewer at a time."
            raise HTTPException(503, detail, {"Retry-After": RETRY_SECONDS})
    return _json(served, {"predictions": predictions, "release": served.version})


def _answer(served: ServedRelease, results: list[ProductFields], **more: object) -> JSONResponse:
    manifest = served.release.manifest
    release = {
        "release": served.version,
        "catalogue_version": manifest.cursor.version,
        "catalogue_at": manifest.catalogue_at,
    }
    return _json(served, {**release, "results": results, **more})


def _json(served: ServedRelease, value: Mapping[str, object]) -> JSONResponse:
    """Serialise here, in a thread, and not on the event loop."""
    return JSONResponse(value, headers={RELEASE_HEADER: str(served.version)})


def _product(served: ServedRelease, product_id: str) -> ProductFields:
    try:
        return served.release.index.product(product_id)
    except InputError as error:
        raise NotFoundError(str(error)) from error
