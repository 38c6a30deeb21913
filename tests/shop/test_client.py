from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from recsim_tasks.foundation.errors import RecsimError, UnavailableError
from recsim_tasks.shop.client import Api


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked; with a problem where the path says `problem`, with no JSON where it says `broken`."""

    def do_GET(self) -> None:
        status = 422 if "problem" in self.path else 500 if "broken" in self.path else 200
        told = {"path": self.path, "token": self.headers["Authorization"], "detail": "Send another."}
        body = b"<html>" if status == 500 else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_product_id_stays_one_part_of_the_path(url: str) -> None:
    assert Api(url).more_like("a/b?c#d e", {"k": 3})["path"] == "/v1/products/a%2Fb%3Fc%23d%20e/similar?k=3"


def test_the_token_goes_along(url: str) -> None:
    assert Api(url, "secret").shelf(3, None, 0)["token"] == "Bearer secret"
    assert Api(url).shelf(3, None, 0)["token"] is None


def test_a_refusal_is_told_in_the_servers_own_words(url: str) -> None:
    with pytest.raises(RecsimError, match=r"^Send another\.$"):
        Api(url).more_like("problem", {})
    with pytest.raises(RecsimError, match="status 500"):
        Api(url).more_like("broken", {})


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"http://127\.0\.0\.1:1 does not answer.*RECSIM_SERVING_URL"):
        Api("http://127.0.0.1:1").shelf(3, None, 0)
