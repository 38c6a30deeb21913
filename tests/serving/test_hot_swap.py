from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry import Registry
from recsim_tasks.serving.app import create_app
from recsim_tasks.serving.hot_swap import HotSwap
from recsim_tasks.vectors.filters import Filters
from release.bundles import picture, reseal


@pytest.fixture
def app(home: Settings) -> FastAPI:
    return create_app(home)


@pytest.fixture
def swap(app: FastAPI) -> HotSwap:
    return app.state.swap  # type: ignore[no-any-return]


@pytest.fixture
def registry(home: Settings) -> Registry:
    return Registry(home)


ASKED = [
    ("GET", "/v1/products"),
    ("GET", "/v1/products/p001/similar"),
    ("GET", "/v1/products/p001/image"),
    ("GET", "/health/ready"),
    ("POST", "/v1/similar"),
    ("POST", "/invocations"),
]


def answering(swap: HotSwap) -> tuple[int, str]:
    """The version that answers, and the product that it finds for picture 7."""
    assert swap.current is not None
    return swap.current.version, swap.current.release.similar(picture(7), 1, Filters())[0]["product_id"]


def test_before_any_release_a_question_gets_a_clear_error(app: FastAPI, swap: HotSwap) -> None:
    client = TestClient(app)
    assert "has just started" in client.get("/v1/products").json()["detail"]
    swap.poll()
    for method, path in ASKED:
        answer = client.request(method, path)
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("No release is in Production yet.")
        assert int(answer.headers["Retry-After"]) > 0
    assert client.get("/health/live").status_code == 200


def test_a_promotion_and_a_rollback_are_followed(swap: HotSwap, registry: Registry) -> None:
    registry.promote(1)
    swap.poll()
    assert answering(swap) == (1, "p007")
    registry.promote(2)
    swap.poll()
    assert answering(swap) == (2, "p007-b")
    registry.rollback(None, "a test")
    swap.poll()
    assert answering(swap) == (1, "p007")
    assert swap.problem is None


def test_a_question_ends_on_the_release_it_began_with(swap: HotSwap, registry: Registry) -> None:
    registry.promote(1)
    swap.poll()
    taken = swap.current
    registry.promote(2)
    swap.poll()
    assert taken is not None
    assert taken.release.similar(picture(7), 1, Filters())[0]["product_id"] == "p007"


@pytest.mark.parametrize("fault", ["changed", "added", "missing", "no manifest"])
def test_a_bundle_that_was_changed_is_refused_and_the_old_release_answers(
    app: FastAPI, swap: HotSwap, registry: Registry, home: Settings, fault: str
) -> None:
    registry.promote(1)
    swap.poll()
    folder = registry.download(2, home.home / "releases" / "2")
    spoil(folder, fault)
    registry.promote(2)
    swap.poll()
    assert answering(swap) == (1, "p007")
    told = TestClient(app).get("/health/ready").json()
    assert told["release"] == 1
    assert told["problem"].startswith("Release 2 is refused: ")
    page = TestClient(app).get("/metrics").text
    assert 'recsim_swaps_total{outcome="refused"} 1.0' in page
    assert "\nrecsim_swap_problem 1.0\n" in page


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("canary", "other vectors for its canary images"),
        ("model", "not the one that the registry names"),
        ("cursor", "not the one that the"),
    ],
)
def test_a_release_that_fits_its_digests_but_not_itself_or_the_registry_is_refused(
    app: FastAPI, swap: HotSwap, registry: Registry, home: Settings, wrong: str, reason: str
) -> None:
    registry.promote(1)
    swap.poll()
    folder = home.home / "releases" / "2"
    if wrong == "model":
        shutil.copytree(home.home / "releases" / "1", folder)
    else:
        values = Manifest.read(registry.download(2, folder)).model_dump()
        values["canaries"][0]["vector"][0] += 0.01 if wrong == "canary" else 0
        values["cursor"]["version"] += 1 if wrong == "cursor" else 0
        reseal(folder, canaries=values["canaries"], cursor=values["cursor"])
    registry.promote(2)
    swap.poll()
    assert answering(swap) == (1, "p007")
    told = TestClient(app).get("/health/ready").json()
    assert told["release"] == 1
    assert told["problem"].startswith("Release 2 is refused: ")
    assert reason in told["problem"]


def test_the_reason_of_a_refusal_is_told_again_once_the_registry_is_back(swap: HotSwap, registry: Registry, home: Settings) -> None:
    spoil(registry.download(1, home.home / "releases" / "1"), "changed")
    registry.promote(1)
    swap.poll()
    refused = swap.problem
    swap._settings, swap._registry = home.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"}), None
    swap.poll()
    assert swap.problem is not None
    assert "http://127.0.0.1:9" in swap.problem
    swap._settings = home
    swap.poll()
    assert swap.problem == refused


def spoil(folder: Path, fault: str) -> None:
    index = folder / "index" / "vectors.faiss"
    if fault == "changed":
        data = bytearray(index.read_bytes())
        data[len(data) // 2] ^= 1
        index.unlink()
        index.write_bytes(data)
    elif fault == "added":
        (folder / "model" / "more.bin").write_bytes(b"x")
    elif fault == "missing":
        index.unlink()
    else:
        (folder / "manifest.json").unlink()


def test_a_refused_release_is_fetched_anew_and_served_when_it_is_whole(
    swap: HotSwap, registry: Registry, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(registry.download(1, home.home / "releases" / "1"), "changed")
    registry.promote(1)
    swap.poll()
    assert swap.current is None
    swap.poll()
    assert swap.problem is not None
    assert swap.problem.startswith("Release 1 is refused"), "not tried again at every poll"
    monkeypatch.setattr("recsim_tasks.serving.hot_swap.RETRY_REFUSED_SECONDS", 0.0)
    swap.poll()
    assert answering(swap) == (1, "p007")
    assert swap.problem is None


def test_what_is_loaded_answers_while_the_registry_is_away(app: FastAPI, swap: HotSwap, registry: Registry, home: Settings) -> None:
    registry.promote(1)
    swap.poll()
    away = home.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})
    swap._settings, swap._registry = away, None
    swap.poll()
    assert answering(swap) == (1, "p007")
    told = TestClient(app).get("/health/ready").json()
    assert told["release"] == 1
    assert "http://127.0.0.1:9" in told["problem"]
    assert "\nrecsim_registry_up 0.0\n" in TestClient(app).get("/metrics").text
    swap._settings = home
    swap.poll()
    assert swap.problem is None


def test_a_full_disk_keeps_the_old_release(swap: HotSwap, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.promote(1)
    swap.poll()

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Registry, "download", full)
    registry.promote(2)
    swap.poll()
    assert answering(swap) == (1, "p007")
    assert swap.problem is not None
    assert "No space left on device" in swap.problem


def test_only_the_two_last_releases_stay_on_disk(swap: HotSwap, registry: Registry, home: Settings) -> None:
    shutil.copytree(registry.download(1, home.home / "fetched"), home.home / "releases" / "77")
    for version in (1, 2):
        registry.promote(version)
        swap.poll()
    assert {folder.name for folder in (home.home / "releases").iterdir()} == {"1", "2"}


@pytest.fixture
def followed(app: FastAPI, registry: Registry) -> Iterator[TestClient]:
    registry.promote(1)
    app.state.swap._settings = app.state.settings.model_copy(update={"serving_poll_seconds": 0.05})
    with TestClient(app) as client:
        wait_for(client, 1)
        yield client


def wait_for(client: TestClient, version: int) -> None:
    for _ in range(2000):
        if client.get("/health/ready").json().get("release") == version:
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"release {version} is not live: {client.get('/health/ready').json()}")


def test_swaps_under_load_fail_no_question_and_mix_no_answer(followed: TestClient, registry: Registry) -> None:
    done = threading.Event()
    answers: list[tuple[int, int, set[bool]]] = []

    def ask() -> None:
        while not done.is_set():
            answer = followed.post("/v1/similar", files={"image": picture(7)}, data={"k": "10"})
            told = answer.json()
            answers.append((answer.status_code, told["release"], {row["product_id"].endswith("-b") for row in told["results"]}))

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    for version in (2, 1, 2, 1, 2, 1):
        registry.promote(version)
        wait_for(followed, version)
    done.set()
    for client in clients:
        client.join()
    assert {(status, release, tuple(found)) for status, release, found in answers} == {(200, 1, (False,)), (200, 2, (True,))}
    assert len(answers) > 50
