from __future__ import annotations

import asyncio
import json
import resource
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from recsim_tasks.serving.connections import MAX_CONNECTIONS, MIN_CONNECTIONS, Connection, max_connections
from serving.sockets import alive, answer_to, listening, opened

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = 40 * 2**20
release = threading.Event()


class Small(Connection):
    """Limits that a test reaches at once."""

    header_bytes, header_fields, pipelined = 20_000, 30, 3
    header_seconds = stalled_seconds = closing_seconds = 0.2


class Few(Connection):
    """At most five connections."""

    limit = 5


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers `/` at once, `/held` when released, and `/large` with a large body."""
    if scope["type"] != "http":
        return
    while scope["path"] == "/held" and not release.is_set():
        await asyncio.sleep(0.01)
    body = b"x" * LARGE if scope["path"] == "/large" else b"good"
    if scope["method"] == "POST":
        while (await receive()).get("more_body"):
            pass
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
    )
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with listening(app, Small) as port:
        yield port


@pytest.fixture
def port_of_few() -> Iterator[int]:
    release.clear()
    with listening(app, Few) as port:
        yield port
    release.set()


def is_answered(port: int) -> bool:
    with opened(port, GET + b"Connection: close\r\n\r\n") as connection:
        return answer_to(connection).endswith(b"good")


def refusal(answer: bytes) -> tuple[int, str]:
    """Status and detail of a problem document."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"connection: close" in head.lower()
    document = json.loads(body)
    assert b"HTTP/1.1 %d " % document["status"] in head
    return document["status"], document["detail"]


@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (GET + b"X: ", b"x" * 5_000),
        (GET, b"X: 1\r\n" * 1_000),
        (GET, b"x" * 5_000),
        (b"GET /", b"x" * 5_000),
        (POST + b"0\r\nX: ", b"x" * 5_000),
        (POST + b"0\r\n", b"X: 1\r\n" * 1_000),
        (POST + b"1;", b"x" * 5_000),
        (b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + GET + b"X: ", b"x" * 5_000),
    ],
    ids=[
        "value",
        "number",
        "name",
        "address",
        "trailer",
        "trailers",
        "chunk extension",
        "value behind a request",
    ],
)
def test_endless_headers_are_refused_before_they_fill_the_memory(
    port: int, start: bytes, endless: bytes
) -> None:
    sent = 0
    with opened(port, start) as connection:
        try:
            while sent < 20 * 2**20:
                connection.sendall(endless)
                sent += len(endless)
        except OSError:
            pass
    assert sent < 20 * 2**20
    assert is_answered(port)


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (GET + b"X: " + b"x" * 25_000 + b"\r\n\r\n", 431, "20,000 bytes"),
        (GET + b"X: 1\r\n" * 31 + b"\r\n", 431, "30 headers"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "exactly one `Host`"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "exactly one `Host`"),
        (b"\x16\x03\x01\x02\x00\x01", 400, "HTTP/1.1"),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400, "HTTP/1.1"),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "HTTP/1.1"),
        (GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "HTTP/1.1"),
        (GET.replace(b"/ ", b"/held ") + b"\r\n" + (GET + b"\r\n") * 9, 400, "3 requests are waiting"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_invalid_request_is_refused_with_a_sentence(
    port: int, request_: bytes, status: int, words: str
) -> None:
    with opened(port, request_) as connection:
        found, sentence = refusal(answer_to(connection))
    assert found == status
    assert words in sentence


@pytest.mark.parametrize("sent", [GET + b"X: 1", b"G", b"\r\n"])
def test_late_headers_are_refused(port: int, sent: bytes) -> None:
    with opened(port, sent) as connection:
        assert refusal(answer_to(connection))[0] == 408


def test_a_connection_without_a_request_is_closed(port: int) -> None:
    with opened(port) as connection:
        assert answer_to(connection) == b""


@pytest.mark.parametrize("more", [b"\r\n", GET, b"GET"])
def test_a_byte_after_a_response_does_not_keep_a_connection_open(port: int, more: bytes) -> None:
    with opened(port, GET + b"\r\n") as connection:
        assert connection.recv(1000).endswith(b"good")
        connection.sendall(more)
        assert refusal(answer_to(connection))[0] == 408


def test_a_body_that_is_not_read_does_not_keep_a_connection_open(port: int) -> None:
    with opened(port, GET + b"Content-Length: 1000000\r\n\r\n") as connection:
        assert connection.recv(1000).endswith(b"good")
        with pytest.raises(ConnectionError):  # noqa: PT012 - which of the bytes breaks is the server's to say
            for _ in range(100):
                connection.sendall(b"x")
                time.sleep(0.05)


def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    with opened(port) as connection:
        for _ in range(20):
            connection.sendall(GET + b"\r\n")
            assert connection.recv(1000).endswith(b"good")
        connection.sendall((GET + b"\r\n") * 2 + GET + b"Connection: close\r\n\r\n")
        assert answer_to(connection).count(b"good") == 3


def test_a_client_that_does_not_read_its_response_is_dropped(port: int) -> None:
    with opened(port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        time.sleep(1)
        assert len(answer_to(connection)) < LARGE


def test_beyond_the_limit_the_longest_idle_connection_is_dropped(port_of_few: int) -> None:
    waiting = [opened(port_of_few) for _ in range(5)]
    assert is_answered(port_of_few)
    assert [alive(each) for each in waiting] == [False, True, True, True, True]


def test_a_busy_connection_is_not_dropped(port_of_few: int) -> None:
    busy = [
        opened(port_of_few, GET.replace(b"/ ", b"/held ") + b"Connection: close\r\n\r\n") for _ in range(4)
    ]
    waiting = opened(port_of_few)
    assert is_answered(port_of_few)
    assert not alive(waiting)
    fifth = opened(port_of_few, GET.replace(b"/ ", b"/held ") + b"Connection: close\r\n\r\n")
    assert alive(fifth)
    with opened(port_of_few) as sixth:
        assert answer_to(sixth) == b"", "all others are busy"
    release.set()
    assert all(answer_to(each).endswith(b"good") for each in (*busy, fifth))


def test_a_low_limit_on_open_files_lowers_the_limit_on_connections() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = []
    try:
        for files in (before[1], 256, 64):
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, before[1]))
            found.append(max_connections())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert found == [MAX_CONNECTIONS, 144, MIN_CONNECTIONS]
