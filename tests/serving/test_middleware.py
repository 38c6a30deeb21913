from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from pydantic import SecretStr

from recsim_tasks.serving.app import create_app
from recsim_tasks.serving.metrics import Metrics
from recsim_tasks.serving.middleware import Admission, BodyLimit, Observed
from recsim_tasks.serving.problems import install


def test_every_answer_has_the_id_of_its_request_and_a_line_in_the_log(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = client.get("/v1/products/p001/similar", headers={"X-Request-Id": "mine-7"})
    line = json.loads(capsys.readouterr().err.splitlines()[-1])
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
    capsys.readouterr()
    client.get("/health/ready")
    assert capsys.readouterr().err == ""


def slow_app(most: int, seconds: float = 20.0) -> tuple[FastAPI, threading.Event]:
    """An app whose `/slow` answers when it may, and whose `/echo` reads its body."""
    app, may = FastAPI(), threading.Event()
    metrics = Metrics()
    app.state.metrics = metrics
    install(app)
    app.add_middleware(BodyLimit, most=1000, seconds=seconds)
    app.add_middleware(Admission, metrics=metrics, most=most)
    app.add_middleware(Observed, metrics=metrics)

    @app.get("/slow")
    def slow() -> dict[str, str]:
        may.wait(20)
        return {}

    @app.get("/fault")
    def broken() -> None:
        raise ValueError("out of coffee")

    @app.get("/health/live")
    def live() -> dict[str, str]:
        return {}

    return app, may


def test_more_requests_than_it_can_answer_are_turned_away_at_once_and_those_it_took_are_answered() -> None:
    app, may = slow_app(most=3)

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://test", timeout=30
        ) as client:
            taken = [asyncio.create_task(client.get("/slow")) for _ in range(3)]
            await asyncio.sleep(0.3)
            began = time.monotonic()
            turned_away = [await client.get("/slow") for _ in range(5)]
            assert time.monotonic() - began < 2
            assert (await client.get("/health/live")).status_code == 200
            may.set()
            return [*(await asyncio.gather(*taken)), *turned_away]

    answers = asyncio.run(ask())
    assert [answer.status_code for answer in answers] == [200] * 3 + [503] * 5
    for answer in answers[3:]:
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["content-type"] == "application/problem+json"
        assert "3 requests at a time" in answer.json()["detail"]
    page = app.state.metrics.page().decode()
    assert "\nrecsim_overload_total 5.0\n" in page
    assert "\nrecsim_requests_in_flight 0.0\n" in page


def test_the_number_at_a_time_is_a_setting(client: TestClient) -> None:
    settings: Any = client.app.state.settings  # type: ignore[attr-defined]
    app = create_app(settings.model_copy(update={"serving_concurrency": 7}))
    assert next(m.kwargs["most"] for m in app.user_middleware if m.cls is Admission) == 7


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """A real socket: half of a body, and then nothing."""
    app, _ = slow_app(most=3, seconds=0.5)

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
            began = time.monotonic()
            answer = connection.recv(4096)
            assert 0.3 < time.monotonic() - began < 10
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert httpx.post(f"http://127.0.0.1:{port}/echo", content=b"x" * 900).json() == {"bytes": 900}
        assert httpx.post(f"http://127.0.0.1:{port}/echo", content=b"x" * 1001).status_code == 413
    finally:
        server.should_exit = True
        thread.join()


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
def test_a_page_that_rebinds_its_name_to_this_machine_is_not_answered(
    client: TestClient, host: str, status: int
) -> None:
    answer = client.get("/v1/products", headers={"Host": host})
    assert answer.status_code == status
    assert client.get("/health/live", headers={"Host": host}).status_code == 200
    if status == 421:
        assert "RECSIM_SERVING_URL" in answer.json()["detail"]


def test_a_server_with_a_token_answers_under_any_name_and_one_with_an_address_under_that(
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


def test_what_nobody_foresaw_is_a_sentence_with_the_id_under_which_the_log_says_more(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = slow_app(most=3)
    answer = TestClient(app).get("/fault", headers={"X-Request-Id": "mine-8"})
    assert (answer.status_code, answer.headers["X-Request-Id"]) == (500, "mine-8")
    assert "coffee" not in answer.text
    said = capsys.readouterr().err
    assert "out of coffee" in caplog.text
    assert '"request_id": "mine-8"' in said
    assert 'recsim_requests_total{route="/fault",status="500"} 1.0' in app.state.metrics.page().decode()
