from __future__ import annotations

import json
import logging

import pytest
from fastapi.testclient import TestClient

from recsim_tasks.serving.access_log import access, configure_access_log
from serving.test_middleware import slow_app

LOGGER = access.name


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


def test_every_response_has_the_id_of_its_request_and_a_line_in_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    answer = client.get("/v1/products/p001/similar", headers={"X-Request-Id": "mine-7"})
    line = json.loads(lines(caplog)[-1])
    assert answer.headers["X-Request-Id"] == line["request_id"] == "mine-7"
    assert (line["method"], line["route"], line["status"], line["release"]) == (
        "GET",
        "/v1/products/{product_id:path}/similar",
        200,
        "1",
    )
    assert line["ms"] > 0
    given = client.get("/v1/products", headers={"X-Request-Id": "a\tb" * 99}).headers["X-Request-Id"]
    assert len(given) == 32


def test_health_checks_are_not_logged(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    client.get("/health/ready")
    assert lines(caplog) == []


def test_the_access_log_writes_plain_json_and_can_be_switched_off(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("handlers", "propagate", "level"):
        monkeypatch.setattr(access, name, getattr(access, name))
    configure_access_log()
    access.setLevel(logging.INFO)
    client.get("/v1/products")
    assert json.loads(capsys.readouterr().err)["route"] == "/v1/products"
    access.setLevel(logging.WARNING)
    client.get("/v1/products")
    assert capsys.readouterr().err == ""


def test_an_unexpected_error_is_answered_with_the_id_under_which_the_log_has_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    app, _ = slow_app(limit=3)
    answer = TestClient(app).get("/fault", headers={"X-Request-Id": "mine-8"})
    assert (answer.status_code, answer.headers["X-Request-Id"]) == (500, "mine-8")
    assert "coffee" not in answer.text
    assert "out of coffee" in caplog.text
    assert json.loads(lines(caplog)[-1])["request_id"] == "mine-8"
    assert 'recsim_requests_total{route="/fault",status="500"} 1.0' in app.state.metrics.page().decode()
