from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from recsim_tasks.foundation.errors import RecsimError, UnavailableError
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.refresh import serving_probe
from recsim_tasks.refresh.serving_probe import wait_until_live


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_probe, "TIMEOUT_SECONDS", 0.2)


@contextmanager
def serving(status: int, answer: object, length: int | None = None) -> Iterator[str]:
    """A serving side that answers `answer`; it may promise another `length`."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def wait(url: str, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setenv("RECSIM_SERVING_URL", url)
    return wait_until_live(load_settings(), 2)


def test_it_is_live_when_every_worker_answers_from_the_release(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(200, {"status": "ready", "release": 2, "oldest_release": 2}) as url:
        assert wait(url, monkeypatch) >= 0


def test_a_serving_side_that_is_away_or_not_ready_is_an_outage(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnavailableError, match="Connection refused"):
        wait("http://127.0.0.1:1", monkeypatch)
    with serving(503, {"detail": "starting"}) as url, pytest.raises(UnavailableError, match="starting"):
        wait(url, monkeypatch)


def test_an_answer_that_breaks_off_is_an_outage(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        serving(200, {"release": 2}, length=1000) as url,
        pytest.raises(UnavailableError, match="IncompleteRead"),
    ):
        wait(url, monkeypatch)


def test_an_answer_of_something_else_is_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(200, [1]) as url, pytest.raises(RecsimError, match=r"does not answer from release 2.*\[1\]"):
        wait(url, monkeypatch)


def test_a_serving_side_that_answers_from_another_release_has_failed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        serving(200, {"status": "ready", "release": 2, "oldest_release": 1}) as url,
        pytest.raises(RecsimError) as raised,
    ):
        wait(url, monkeypatch)
    assert not isinstance(raised.value, UnavailableError)
