"""Real responses have exactly the fields that the OpenAPI document describes."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from recsim_tasks.serving import responses
from release.bundles import png_image

IMAGE = base64.b64encode(png_image(7)).decode()


@pytest.mark.parametrize(
    ("model", "method", "path", "body"),
    [
        (responses.SimilarProducts, "POST", "/v1/similar", {"image": IMAGE}),
        (responses.SimilarProducts, "GET", "/v1/products/p001/similar", None),
        (responses.ProductPage, "GET", "/v1/products", None),
        (responses.SingleProduct, "GET", "/v1/products/p001", None),
        (responses.Predictions, "POST", "/invocations", {"inputs": {"image": [IMAGE]}}),
        (responses.Liveness, "GET", "/health/live", None),
        (responses.Readiness, "GET", "/health/ready", None),
        (responses.ProblemDetails, "GET", "/v1/products/unknown", None),
        (responses.ProblemDetails, "GET", "/v1/products?k=0", None),
        (responses.ProblemDetails, "GET", "/nothing", None),
    ],
)
def test_a_response_has_the_fields_that_are_described(
    client: TestClient, model: type[BaseModel], method: str, path: str, body: dict[str, Any] | None
) -> None:
    answer = client.request(method, path, json=body)
    assert model.model_validate_json(answer.text, strict=True).model_dump() == answer.json()
