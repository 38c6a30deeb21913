"""The OpenAPI document: adds request bodies that are read by hand, and the problem documents of errors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from recsim_tasks.release.search_options import SearchOptions
from recsim_tasks.serving.invocations import InvocationRequest
from recsim_tasks.serving.problems import MEDIA_TYPE
from recsim_tasks.serving.requests import SimilarRequest
from recsim_tasks.serving.responses import ProblemDetails

SCHEMAS = "#/components/schemas/"
TAGS = [
    {"name": "search", "description": "Find products by how similar their images are."},
    {"name": "products", "description": "Browse the products of the release in Production."},
    {"name": "mlflow", "description": "MLflow's scoring protocol, for its clients."},
    {"name": "operations", "description": "Health checks and metrics."},
]
UNAUTHORISED = {401: "The bearer token is missing or wrong."}
NOT_FOUND = {404: "The release has no such product."}
INVALID = {422: "A parameter or the body is not valid."}
NOT_READY = {503: "No release is ready, or the server is busy; try again after `Retry-After`."}
BAD_BODY = {
    400: "The body cannot be parsed.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
}
UNSUPPORTED = {415: "The content type is not supported."}


def error_responses(*groups: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of an operation, for `responses` of its route."""
    content = {MEDIA_TYPE: {"schema": {"$ref": SCHEMAS + ProblemDetails.__name__}}}
    return {
        code: {"description": text, "content": content} for group in groups for code, text in group.items()
    }


def json_request(model: type) -> dict[str, Any]:
    """Describe a JSON body, for `openapi_extra` of a route that reads it by hand."""
    return {"requestBody": {"required": True, "content": {"application/json": _reference(model.__name__)}}}


def image_request() -> dict[str, Any]:
    """Describe the body of `POST /v1/similar`."""
    described = json_request(SimilarRequest)
    described["requestBody"]["content"]["multipart/form-data"] = _reference("SimilarUpload")
    return described


def install(app: FastAPI) -> None:
    """Complete the OpenAPI document of `app`."""
    app.openapi = partial(_document, app)  # type: ignore[method-assign] # FastAPI's own way to extend it


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        schemas = document["components"]["schemas"]
        models = (SearchOptions, SimilarRequest, InvocationRequest, ProblemDetails)
        generated = models_json_schema(
            [(model, "validation") for model in models], ref_template=SCHEMAS + "{model}"
        )[1]
        schemas |= generated["$defs"]
        schemas["SimilarUpload"] = _upload(schemas["SearchOptions"])
    return app.openapi_schema or {}


def _upload(options: Mapping[str, Any]) -> dict[str, object]:
    image = {"type": "string", "format": "binary", "description": "A JPEG, PNG or WebP file."}
    return {
        **options,
        "title": "SimilarUpload",
        "description": "An uploaded image, and search options.",
        "required": ["image"],
        "properties": {"image": image, **options["properties"]},
    }


def _reference(name: str) -> dict[str, dict[str, str]]:
    return {"schema": {"$ref": SCHEMAS + name}}
