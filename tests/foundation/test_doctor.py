from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from recsim_tasks.foundation.doctor import examine, findings
from recsim_tasks.foundation.errors import ConfigurationError, UnavailableError
from recsim_tasks.foundation.prerequisites import Finding
from recsim_tasks.foundation.settings import Settings, load_settings

pytestmark = pytest.mark.process


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with Delta's jars where Ivy puts them."""
    jars = tmp_path / "user" / ".ivy2.5.2" / "jars"
    jars.mkdir(parents=True)
    (jars / f"io.delta_delta-spark_4.2_2.13-{metadata.version('delta-spark')}.jar").write_bytes(b"jar")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    return tmp_path / "user"


def finding(settings: Settings, name: str) -> Finding:
    return next(found for found in findings(settings) if found.name == name)


def test_a_complete_machine_passes_every_check(settings: Settings, user: Path) -> None:
    result = examine(settings)
    assert result.ok
    names = {found.name for found in result.findings}
    assert {
        "Linux x86-64",
        "Python 3.11",
        "Java 17",
        "C++17 compiler",
        "make",
        "RECSIM_HOME",
        "tensorflow-cpu",
        "horovod",
        "Delta's jars",
        "MLflow",
    } <= names


@pytest.mark.parametrize(
    ("installed", "ok"), [("tensorflow-cpu", True), ("tensorflow", True), ("tensorboard", False)]
)
def test_either_build_of_tensorflow_will_do(
    installed: str, ok: bool, settings: Settings, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "recsim_tasks.foundation.doctor._version", lambda name: "2.18.1" if name == installed else None
    )
    assert finding(settings, "tensorflow-cpu").ok == ok


def test_all_faults_are_named_at_once_with_exit_code_2(
    settings: Settings, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError) as refused:
        examine(load_settings())
    assert refused.value.exit_code == 2
    for fault in (
        "openjdk-17-jre-headless",
        "install g++",
        "install make",
        "http://127.0.0.1:9 does not answer",
    ):
        assert fault in str(refused.value)


def test_outages_alone_end_with_exit_code_1(
    settings: Settings, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match=r"http://127\.0\.0\.1:9 does not answer"):
        examine(load_settings())


def test_missing_jars_are_named_with_the_command_that_fetches_them(settings: Settings, user: Path) -> None:
    next(user.glob(".ivy2*/jars/*")).unlink()
    found = finding(settings, "Delta's jars")
    assert (found.ok, found.remedy) == (False, "Run: make setup")


def test_a_pom_without_its_jar_is_named_as_the_reason_why_ivy_stops(settings: Settings, user: Path) -> None:
    next(user.glob(".ivy2*/jars/*")).unlink()
    artifact = user / ".m2" / "repository" / "io" / "delta" / "delta-storage" / "4.4.0"
    artifact.mkdir(parents=True)
    (artifact / "delta-storage-4.4.0.pom").write_text("<project><packaging>jar</packaging></project>")
    parent = user / ".m2" / "repository" / "org" / "parent" / "1"
    parent.mkdir(parents=True)
    (parent / "parent-1.pom").write_text("<project><packaging>pom</packaging></project>")
    found = finding(settings, "Delta's jars")
    assert not found.ok
    assert (
        "1 poms of ~/.m2 that have no jar, such as io/delta/delta-storage/4.4.0/delta-storage-4.4.0.pom"
        in found.detail
    )
    assert "~/.m2/repository" in found.remedy


def test_a_home_that_cannot_be_written_is_named(
    settings: Settings, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RECSIM_HOME", str(tmp_path / "file" / "home"))
    found = finding(load_settings(), "RECSIM_HOME")
    assert not found.ok
    assert str(tmp_path / "file" / "home") in found.detail


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_an_mlflow_that_answers_passes(
    settings: Settings, user: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{server}/")
    assert finding(load_settings(), "MLflow").ok


def test_something_else_at_mlflows_address_is_not_taken_for_it(
    settings: Settings, user: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{server}/elsewhere")
    assert "Not Found" in finding(load_settings(), "MLflow").detail


def test_a_server_that_does_not_speak_http_is_named(
    settings: Settings, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        greeting = threading.Thread(target=lambda: listener.accept()[0].sendall(b"SSH-2.0-OpenSSH\r\n"))
        greeting.start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listener.getsockname()[1]}")
        mlflow = finding(load_settings(), "MLflow")
        greeting.join()
    assert (mlflow.ok, mlflow.away) == (False, False)
    assert "SSH-2.0" in mlflow.detail


def test_nothing_heavy_is_imported() -> None:
    heavy = {"tensorflow", "pyspark", "delta", "mlflow", "horovod", "numpy"}
    code = f"import sys; from recsim_tasks.foundation import doctor; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
