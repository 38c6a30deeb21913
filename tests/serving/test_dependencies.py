from __future__ import annotations

from threading import BoundedSemaphore
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from starlette.exceptions import HTTPException

from recsim_tasks.serving import dependencies
from recsim_tasks.serving.app import create_app
from recsim_tasks.serving.dependencies import cpu_slot
from serving.conftest import LOCAL
from serving.test_routes import IMAGES, assert_problem


def test_with_a_token_all_but_health_requires_it(client: TestClient) -> None:
    open_app = client.app
    app = create_app(open_app.state.settings.model_copy(update={"api_token": SecretStr("secret")}))  # type: ignore[attr-defined]
    app.state.swap.poll()
    guarded = TestClient(app, LOCAL)
    for path in ("/v1/products", "/v1/products/p001/similar", "/v1/products/p001/image", "/metrics"):
        assert_problem(guarded.get(path), 401, "bearer token")
        assert_problem(guarded.get(path, headers={"Authorization": "Bearer wrong"}), 401)
        assert_problem(guarded.get(path, headers={"Authorization": "Bearer gehëim".encode()}), 401)
        assert guarded.get(path, headers={"Authorization": "Bearer secret"}).status_code == 200
    assert_problem(guarded.post("/v1/similar", json={"image": IMAGES[0]}), 401)
    assert_problem(guarded.post("/invocations", json={"inputs": {"image": IMAGES}}), 401)
    assert guarded.get("/health/live").status_code == guarded.get("/health/ready").status_code == 200


def test_a_request_that_gets_no_cpu_is_refused_and_a_cpu_is_released_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dependencies, "ANSWER_SECONDS", 0.01)
    request: Any = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(cpu_slots=BoundedSemaphore(1))))
    with pytest.raises(ZeroDivisionError), cpu_slot(request):
        raise ZeroDivisionError
    with cpu_slot(request), pytest.raises(HTTPException) as refused, cpu_slot(request):
        pass
    assert refused.value.status_code == 503
    assert refused.value.headers == {"Retry-After": "5"}
