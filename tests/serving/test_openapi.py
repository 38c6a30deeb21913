"""The API against its own description: every operation, with input that the description allows and input that it does not."""

from __future__ import annotations

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
from schemathesis.generation import GenerationMode

from serving.conftest import LOCAL
from serving.test_routes_fuzz import check

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


def spoilt(value: Any) -> Any:
    """`value` with half a character at the end of every text, which a description of JSON allows and UTF-8 does not."""
    if isinstance(value, dict):
        return {name: spoilt(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [spoilt(inner) for inner in value]
    return value + "\ud800" if isinstance(value, str) else value


@pytest.fixture(scope="module")
def described(serving_one: FastAPI) -> dict[str, Any]:
    schema = schemathesis.openapi.from_dict(serving_one.openapi())
    return {operation.ok().label: operation.ok() for operation in schema.get_all_operations()}


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
def test_every_operation_answers_or_refuses_with_a_sentence(
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
    @given(case=operation.as_strategy(generation_mode=mode), spoil=st.booleans())
    def ask(case: Any, spoil: bool) -> None:
        if spoil and case.media_type == "application/json":
            case.body = spoilt(case.body)
        asked = {
            name: value for name, value in case.as_transport_kwargs(base_url=LOCAL).items() if name in PARTS
        }
        try:
            sent = Request(**asked).prepare()
            answer = client.request(
                str(sent.method), str(sent.url), content=sent.body or b"", headers=dict(sent.headers)
            )
        except (UnicodeEncodeError, ValueError, TypeError, httpx.InvalidURL):  # no client sends it
            return
        check(answer)

    ask()
