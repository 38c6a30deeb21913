"""Translation of MLflow's errors: outages and refusals differ."""

from __future__ import annotations

import http.server
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import ConfigurationError, MissingError, RecsimError, UnavailableError
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.learning.mlflow_errors import translated_errors
from recsim_tasks.learning.mlflow_runs import Tracker

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The address of a server that gives every request the same answer."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def connect(uri: str, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return Tracker(load_settings())


REFUSED = b'{"error_code": "PERMISSION_DENIED", "message": "not you"}'


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, b"<html>", UnavailableError),
        (502, b"<html>", UnavailableError),
        (503, b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "soon"}', UnavailableError),
        (429, b"<html>", UnavailableError),
        (408, b"<html>", UnavailableError),
        (400, b"<html>", ConfigurationError),
        (401, b"<html>", ConfigurationError),
        (403, REFUSED, ConfigurationError),
        (404, b"<html>", MissingError),
    ],
)
def test_a_status_of_the_server_is_an_outage_or_a_refusal(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, kind: type[RecsimError]
) -> None:
    with answering(status, body) as uri, pytest.raises(RecsimError, match="MLFLOW_TRACKING_URI") as raised:
        connect(uri, monkeypatch)
    assert type(raised.value) is kind
    assert raised.value.exit_code == (1 if kind is UnavailableError else 2)


def test_a_server_that_hangs_or_hangs_up_is_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnavailableError, match=f"MLflow at {uri} .*does not answer .*timed out"):
            connect(uri, monkeypatch)

        def hang_up() -> None:
            for _ in range(4):
                silent.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(UnavailableError, match="does not answer"):
            connect(uri, monkeypatch)


@pytest.mark.drill
def test_a_locked_database_is_away(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow itself waits for 20 s."""
    path = tmp_path / "mlflow.db"
    tracker = connect(f"sqlite:///{path}", monkeypatch)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with (
        pytest.raises(UnavailableError, match="locked by another process"),
        translated_errors(f"sqlite:///{path}"),
    ):
        tracker.client.create_run(tracker.experiment_id)
    holder.close()


def test_a_damaged_database_is_not_away(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(os.urandom(1 << 16))
    with pytest.raises(
        RecsimError, match=r"mlflow\.db cannot be used: .*not a database.*Restore it"
    ) as raised:
        connect(f"sqlite:///{path}", monkeypatch)
    assert not isinstance(raised.value, UnavailableError)


def test_a_missing_driver_is_named_and_another_missing_package_is_not_mlflows(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="needs the Python package pymssql, which is not installed"):
        connect("mssql+pymssql://127.0.0.1:9/mlflow", monkeypatch)
    with pytest.raises(ModuleNotFoundError), translated_errors("sqlite:///mlflow.db"):
        import_module("a_package_that_a_training_lacks")
