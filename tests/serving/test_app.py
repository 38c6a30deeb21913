"""How the app is assembled from the settings."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from recsim_tasks.serving.app import create_app
from recsim_tasks.serving.middleware import ConcurrencyLimit


def test_the_concurrency_limit_is_a_setting(client: TestClient) -> None:
    settings: Any = client.app.state.settings  # type: ignore[attr-defined]
    app = create_app(settings.model_copy(update={"serving_concurrency": 7}))
    classes: list[object] = [middleware.cls for middleware in app.user_middleware]
    assert app.user_middleware[classes.index(ConcurrencyLimit)].kwargs["limit"] == 7


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("[::1]:9", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_a_page_that_rebinds_its_dns_name_to_this_machine_is_refused(
    client: TestClient, host: str, status: int
) -> None:
    answer = client.get("/v1/products", headers={"Host": host})
    assert answer.status_code == status
    assert client.get("/health/live", headers={"Host": host}).status_code == 200
    if status == 421:
        assert "RECSIM_SERVING_URL" in answer.json()["detail"]


def test_any_host_name_is_trusted_with_a_token_and_the_public_one_without(
    client: TestClient,
) -> None:
    settings: Any = client.app.state.settings  # type: ignore[attr-defined]
    guarded = create_app(settings.model_copy(update={"api_token": SecretStr("secret")}))
    assert (
        TestClient(guarded, "http://shop.example")
        .get("/v1/products", headers={"Authorization": "Bearer secret"})
        .status_code
        == 503
    )
    named = create_app(settings.model_copy(update={"serving_url": "http://serving:8000"}))
    assert TestClient(named, "http://serving:8000").get("/v1/products").status_code == 503
    assert TestClient(named, "http://other:8000").get("/v1/products").status_code == 421
