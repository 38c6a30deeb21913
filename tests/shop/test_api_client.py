from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from recsim_tasks.foundation.errors import RecsimError, UnavailableError
from recsim_tasks.shop.api_client import ApiClient


class Echo(BaseHTTPRequestHandler):
    """Echoes the request; answers a problem for paths with `problem`, and no JSON for paths with `broken`.

    For paths with `foreign`, it answers as a server of another kind.
    """

    def do_GET(self) -> None:
        status = 422 if "problem" in self.path else 500 if "broken" in self.path else 200
        status = 502 if "foreign-list" in self.path else status
        echo = {"path": self.path, "token": self.headers["Authorization"], "detail": "Send another."}
        body = b"<html>" if status == 500 or "foreign" in self.path else json.dumps(echo).encode()
        body = b"[]" if status == 502 else body
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


def test_a_product_id_is_one_segment_of_the_path(url: str) -> None:
    answer: Any = ApiClient(url).search_by_product("a/b?c#d e", {"k": 3})
    assert answer["path"] == "/v1/products/a%2Fb%3Fc%23d%20e/similar?k=3"


def test_the_token_is_sent(url: str) -> None:
    for token, sent in (("secret", "Bearer secret"), (None, None)):
        answer: Any = ApiClient(url, token).list_products(size=3, category=None, seed=0)
        assert answer["token"] == sent


def test_a_refusal_keeps_the_servers_sentence(url: str) -> None:
    with pytest.raises(RecsimError, match=r"^Send another\.$"):
        ApiClient(url).search_by_product("problem", {})
    with pytest.raises(RecsimError, match="status 500"):
        ApiClient(url).search_by_product("broken", {})


def test_a_server_of_another_kind_is_named(url: str) -> None:
    for ask in (ApiClient(url).product, lambda name: ApiClient(url).search_by_product(name, {})):
        with pytest.raises(RecsimError, match=r"http://127\.0\.0\.1:.* does not answer in JSON"):
            ask("foreign")
        with pytest.raises(UnavailableError, match="status 502"):
            ask("foreign-list")


def test_an_unreachable_server_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"http://127\.0\.0\.1:1 does not answer.*RECSIM_SERVING_URL"):
        ApiClient("http://127.0.0.1:1").list_products(size=3, category=None, seed=0)
