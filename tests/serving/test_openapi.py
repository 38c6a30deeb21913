"""The OpenAPI document, and every operation with valid and invalid input generated from it."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from requests import Request
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from serving.conftest import LOCAL
from serving.test_fuzz import check

PARTS = ("method", "url", "headers", "params", "data", "json", "files")
OPERATIONS = (
    *(
        "POST /v1/similar",
        "GET /v1/products/{product_id}/similar",
        "GET /v1/products/{product_id}/image",
        "GET /v1/products",
    ),
    *(
        "GET /v1/products/{product_id}",
        "POST /invocations",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
    ),
)

TAKE_NOTHING = ("GET /health/live", "GET /health/ready", "GET /metrics")


def with_lone_surrogates(value: Any) -> Any:
    """`value` with a lone surrogate at the end of every text: valid in JSON, not in UTF-8."""
    if isinstance(value, dict):
        return {name: with_lone_surrogates(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_lone_surrogates(inner) for inner in value]
    return value + "\ud800" if isinstance(value, str) else value


@pytest.fixture(scope="module")
def described(serving_one: FastAPI) -> dict[str, Any]:
    schema = schemathesis.openapi.from_dict(serving_one.openapi())
    results = list(schema.get_all_operations())
    valid = [result.ok() for result in results if isinstance(result, Ok)]
    assert len(valid) == len(results)
    return {operation.label: operation for operation in valid}


def operations(app: FastAPI) -> list[dict[str, Any]]:
    return [operation for path in app.openapi()["paths"].values() for operation in path.values()]


def test_every_operation_has_an_id_a_summary_a_description_and_a_tag(serving_one: FastAPI) -> None:
    described = operations(serving_one)
    assert all(each["summary"] and each["description"] and len(each["tags"]) == 1 for each in described)
    assert len({each["operationId"] for each in described}) == len(OPERATIONS)
    assert all(each["operationId"].isidentifier() for each in described)


def test_every_error_is_a_problem_document(serving_one: FastAPI) -> None:
    reference = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    for each in operations(serving_one):
        errors = {code: answer for code, answer in each["responses"].items() if code != "200"}
        assert all(answer["content"] == {"application/problem+json": reference} for answer in errors.values())


def test_every_schema_is_used_and_every_reference_has_one(serving_one: FastAPI) -> None:
    document = serving_one.openapi()
    used = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert used == set(document["components"]["schemas"])
    assert {"SearchOptions", "SimilarRequest", "SimilarUpload", "InvocationRequest"} <= used


def test_every_route_is_described(described: dict[str, Any]) -> None:
    assert set(described) == set(OPERATIONS)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (name, mode)
        for name in OPERATIONS
        for mode in GenerationMode
        if mode == GenerationMode.POSITIVE or name not in TAKE_NOTHING
    ],
    ids=str,
)
def test_every_operation_answers_or_refuses_with_a_problem(
    described: dict[str, Any],
    client: TestClient,
    pytestconfig: pytest.Config,
    name: str,
    mode: GenerationMode,
) -> None:
    operation = described[name]
    count = max(10, pytestconfig.getoption("--fuzz") // 5)

    @limits(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=mode), broken=st.booleans())
    def ask(case: Any, broken: bool) -> None:
        if broken and case.media_type == "application/json":
            case.body = with_lone_surrogates(case.body)
        request = {
            name: value for name, value in case.as_transport_kwargs(base_url=LOCAL).items() if name in PARTS
        }
        try:
            prepared = Request(**request).prepare()
            answer = client.request(
                str(prepared.method),
                str(prepared.url),
                content=prepared.body or b"",
                headers=dict(prepared.headers),
            )
        except (UnicodeEncodeError, ValueError, TypeError, httpx.InvalidURL):  # no client can send it
            return
        check(answer)

    ask()
