from __future__ import annotations

import asyncio
import socket
import threading
import time

import httpx
import uvicorn
from fastapi import FastAPI, Request

from recsim_tasks.serving.access_log import RequestLog
from recsim_tasks.serving.middleware import BodyLimit, ConcurrencyLimit
from recsim_tasks.serving.problems import install
from recsim_tasks.serving.prometheus import Metrics


def slow_app(limit: int, seconds: float = 20.0) -> tuple[FastAPI, threading.Event]:
    """An app whose `/slow` answers when it may, and whose `/echo` reads its body."""
    app, may = FastAPI(), threading.Event()
    metrics = Metrics()
    app.state.metrics = metrics
    install(app)
    app.add_middleware(BodyLimit, max_bytes=1000, seconds=seconds)
    app.add_middleware(ConcurrencyLimit, metrics=metrics, limit=limit)
    app.add_middleware(RequestLog, metrics=metrics)

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


def test_requests_beyond_the_limit_are_refused_at_once_and_others_answered() -> None:
    app, may = slow_app(limit=3)

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


def test_a_slow_or_large_body_is_refused() -> None:
    """A real socket: half of a body, and then nothing."""
    app, _ = slow_app(limit=3, seconds=0.5)

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
