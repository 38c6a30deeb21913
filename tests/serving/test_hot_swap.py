from __future__ import annotations

import errno
import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.promotion import Promotions
from recsim_tasks.serving.app import create_app
from recsim_tasks.serving.backoff import RETRY_REFUSED_SECONDS, RETRY_UNAVAILABLE_SECONDS
from recsim_tasks.serving.champion_follower import ChampionFollower
from recsim_tasks.serving.hot_swap import HotSwap
from recsim_tasks.serving.target import STATES, suspect_file
from recsim_tasks.vectors.filters import Filters
from release.bundles import png_image, reseal
from release.registered import move_alias, set_production, stored
from serving.conftest import LOCAL


class FakeClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def app(home: Settings, clock: FakeClock) -> FastAPI:
    return create_app(home, clock=clock)


@pytest.fixture
def swap(app: FastAPI) -> HotSwap:
    return app.state.swap  # type: ignore[no-any-return]


@pytest.fixture
def registry(home: Settings) -> Registry:
    return Registry(home)


@pytest.fixture
def follower(home: Settings, clock: FakeClock) -> ChampionFollower:
    return ChampionFollower(home, clock)


def serve(registry: Registry, follower: ChampionFollower, swap: HotSwap, version: int) -> None:
    """Put `version` into Production, and poll once."""
    set_production(registry, version)
    poll(follower, swap)


def poll(follower: ChampionFollower, swap: HotSwap) -> None:
    follower.poll()
    swap.poll()


def lose_registry(follower: ChampionFollower, uri: str = "http://127.0.0.1:9") -> None:
    """Point the follower to a registry that does not answer."""
    follower._settings = follower._settings.model_copy(update={"mlflow_tracking_uri": uri})
    follower._registry = None


REQUESTS = [
    ("GET", "/v1/products"),
    ("GET", "/v1/products/p001/similar"),
    ("GET", "/v1/products/p001/image"),
    ("GET", "/health/ready"),
    ("POST", "/v1/similar"),
    ("POST", "/invocations"),
]


def answering(swap: HotSwap) -> tuple[int, object]:
    """The version that answers, and the product that it finds for image 7."""
    assert swap.current is not None
    return swap.current.version, swap.current.release.similar(png_image(7), 1, Filters())[0]["product_id"]


def test_without_a_release_a_request_gets_a_clear_error(
    app: FastAPI, follower: ChampionFollower, swap: HotSwap
) -> None:
    client = TestClient(app, LOCAL)
    assert "has just started" in client.get("/v1/products").json()["detail"]
    poll(follower, swap)
    for method, path in REQUESTS:
        answer = client.request(method, path)
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("No release is in Production yet.")
        assert int(answer.headers["Retry-After"]) > 0
    assert client.get("/health/live").status_code == 200


def test_a_server_is_not_ready_while_a_worker_has_no_release(
    app: FastAPI, follower: ChampionFollower, swap: HotSwap, registry: Registry
) -> None:
    client, metrics = TestClient(app, LOCAL), app.state.metrics
    poll(follower, swap)
    assert "\nrecsim_release 0.0\n" in client.get("/metrics").text
    serve(registry, follower, swap, 1)
    assert client.get("/health/ready").json()["oldest_release"] == 1
    metrics.set_gauge("recsim_release", 0)  # what the lowest over workers is while another one has none
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert "Try again" in answer.json()["detail"]


def test_a_promotion_and_a_rollback_are_followed(
    follower: ChampionFollower, swap: HotSwap, registry: Registry
) -> None:
    serve(registry, follower, swap, 1)
    assert answering(swap) == (1, "p007")
    serve(registry, follower, swap, 2)
    assert answering(swap) == (2, "p007-b")
    serve(registry, follower, swap, 1)
    assert answering(swap) == (1, "p007")
    assert swap.problem is None


def test_a_request_ends_on_the_release_it_started_with(
    follower: ChampionFollower, swap: HotSwap, registry: Registry
) -> None:
    serve(registry, follower, swap, 1)
    taken = swap.current
    serve(registry, follower, swap, 2)
    assert taken is not None
    assert taken.release.similar(png_image(7), 1, Filters())[0]["product_id"] == "p007"


@pytest.mark.parametrize("fault", ["changed", "added", "missing", "no manifest"])
def test_a_damaged_release_is_refused_and_the_old_one_answers(
    app: FastAPI, follower: ChampionFollower, swap: HotSwap, registry: Registry, own_files: Path, fault: str
) -> None:
    serve(registry, follower, swap, 1)
    spoil(stored(registry, 2), fault)
    serve(registry, follower, swap, 2)
    assert answering(swap) == (1, "p007")
    body = TestClient(app, LOCAL).get("/health/ready").json()
    assert (body["release"], body["problem"]) == (1, "release_refused")
    assert "\nrecsim_swap_problem 1.0\n" in TestClient(app, LOCAL).get("/metrics").text


def test_a_worker_checks_a_release_that_the_follower_has_checked(
    app: FastAPI,
    follower: ChampionFollower,
    swap: HotSwap,
    registry: Registry,
    home: Settings,
    clock: FakeClock,
) -> None:
    """The follower fetches a copy again that a worker finds damaged."""
    serve(registry, follower, swap, 1)
    set_production(registry, 2)
    follower.poll()
    spoil(home.home / "releases" / "2", "changed")
    swap.poll()
    assert answering(swap) == (1, "p007")
    assert swap.problem is not None
    assert swap.problem.reason.startswith("Release 2 is refused: ")
    assert 'recsim_swaps_total{outcome="refused"} 1.0' in TestClient(app, LOCAL).get("/metrics").text
    clock.now += RETRY_REFUSED_SECONDS
    poll(follower, swap)
    assert answering(swap) == (2, "p007-b")
    assert swap.problem is None


def test_a_worker_that_suspects_a_good_release_does_not_take_it_from_others(
    follower: ChampionFollower,
    swap: HotSwap,
    registry: Registry,
    home: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(registry, follower, swap, 1)
    set_production(registry, 2)
    follower.poll()
    with monkeypatch.context() as short:
        short.setattr(Manifest, "read", unreadable)
        swap.poll()
    assert swap.problem is not None
    assert "cannot be read" in swap.problem.reason
    folder = home.home / "releases" / "2"
    before = folder.stat().st_ino
    follower.poll()
    assert folder.stat().st_ino == before
    again: HotSwap = create_app(home).state.swap
    again.poll()
    assert answering(again) == (2, "p007-b")


def too_many_files(path: Path) -> NoReturn:
    raise OSError(errno.EMFILE, "Too many open files", str(path))


def no_descriptor(folder: Path) -> Manifest:
    try:
        too_many_files(folder)
    except OSError as error:
        raise InputError(f"{folder} contains no release: manifest.json cannot be read.") from error


def test_a_worker_without_file_descriptors_does_not_refuse_a_release_and_opens_it_later(
    app: FastAPI,
    follower: ChampionFollower,
    swap: HotSwap,
    registry: Registry,
    home: Settings,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(registry, follower, swap, 1)
    set_production(registry, 2)
    follower.poll()
    with monkeypatch.context() as short:
        short.setattr(Manifest, "read", no_descriptor)
        swap.poll()
    assert readiness(app) == (1, "release_unavailable")
    assert not suspect_file(home, 2).exists()
    assert 'outcome="refused"' not in TestClient(app, LOCAL).get("/metrics").text
    clock.now += RETRY_UNAVAILABLE_SECONDS
    swap.poll()
    assert answering(swap) == (2, "p007-b")


def test_a_follower_without_file_descriptors_does_not_refuse_a_release(
    app: FastAPI,
    follower: ChampionFollower,
    swap: HotSwap,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(registry, follower, swap, 1)
    with monkeypatch.context() as short:
        short.setattr(Manifest, "read", no_descriptor)
        serve(registry, follower, swap, 2)
    assert readiness(app) == (1, "release_unavailable")


def test_a_copy_that_a_worker_suspects_is_not_trusted_before_it_was_checked(
    follower: ChampionFollower,
    swap: HotSwap,
    registry: Registry,
    home: Settings,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(registry, follower, swap, 1)
    suspect_file(home, 1).touch()
    with monkeypatch.context() as short:
        short.setattr(Manifest, "read", no_descriptor)
        follower.poll()
    assert suspect_file(home, 1).exists()
    clock.now += RETRY_UNAVAILABLE_SECONDS
    follower.poll()
    assert not suspect_file(home, 1).exists()


def test_a_release_that_fails_to_open_is_not_tried_again_at_every_poll(
    app: FastAPI,
    follower: ChampionFollower,
    swap: HotSwap,
    registry: Registry,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    serve(registry, follower, swap, 1)
    set_production(registry, 2)
    follower.poll()
    with monkeypatch.context() as short:
        short.setattr(Release, "open", lambda *_: [].pop())
        for _ in range(3):
            swap.poll()
    assert readiness(app) == (1, "failed")
    assert sum(record.exc_info is not None for record in caplog.records) == 1
    clock.now += RETRY_UNAVAILABLE_SECONDS
    swap.poll()
    assert answering(swap) == (2, "p007-b")


def test_a_worker_logs_why_it_starts_without_the_champion(
    follower: ChampionFollower,
    registry: Registry,
    home: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    set_production(registry, 1)
    follower.poll()
    spoil(home.home / "releases" / "1", "changed")
    with TestClient(create_app(home), LOCAL):
        pass
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sum("Serving: Release 1 is refused: " in line for line in warnings) == 1


def test_a_target_that_cannot_be_read_is_not_replaced(
    follower: ChampionFollower,
    swap: HotSwap,
    registry: Registry,
    home: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a server that starts while the registry is away would answer nothing."""
    serve(registry, follower, swap, 1)
    lose_registry(follower)
    with monkeypatch.context() as short:
        short.setattr(Path, "read_text", too_many_files)
        with pytest.raises(OSError, match="Too many open files"):
            follower.poll()
        swap.poll()
    assert answering(swap) == (1, "p007")
    assert swap.problem is not None
    assert "Too many open files" in swap.problem.reason
    restarted: HotSwap = create_app(home).state.swap
    restarted.poll()
    assert answering(restarted) == (1, "p007")


def unreadable(folder: Path) -> Manifest:
    raise InputError(f"{folder} contains no release: manifest.json cannot be read.")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("canary", "embeds its canary images differently"),
        ("model", "is not the one in the registry"),
        ("cursor", "is not the one in the registry"),
    ],
)
def test_a_release_that_contradicts_its_canaries_or_the_registry_is_refused(
    app: FastAPI,
    follower: ChampionFollower,
    swap: HotSwap,
    registry: Registry,
    own_files: Path,
    wrong: str,
    reason: str,
) -> None:
    serve(registry, follower, swap, 1)
    folder = stored(registry, 2)
    if wrong == "model":
        shutil.rmtree(folder)
        shutil.copytree(stored(registry, 1), folder)
    else:
        values = Manifest.read(folder).model_dump()
        values["canaries"][0]["vector"][0] += 0.01 if wrong == "canary" else 0
        values["cursor"]["version"] += 1 if wrong == "cursor" else 0
        reseal(folder, canaries=values["canaries"], cursor=values["cursor"])
    serve(registry, follower, swap, 2)
    assert answering(swap) == (1, "p007")
    body = TestClient(app, LOCAL).get("/health/ready").json()
    assert (body["release"], body["problem"]) == (1, "release_refused")
    assert swap.problem is not None
    assert swap.problem.reason.startswith("Release 2 is refused: ")
    assert reason in swap.problem.reason


def test_the_reason_of_a_refusal_is_shown_again_once_the_registry_is_back(
    follower: ChampionFollower, swap: HotSwap, registry: Registry, home: Settings, own_files: Path
) -> None:
    spoil(stored(registry, 1), "changed")
    serve(registry, follower, swap, 1)
    refused = swap.problem
    lose_registry(follower)
    poll(follower, swap)
    assert swap.problem is not None
    assert "http://127.0.0.1:9" in swap.problem.reason
    follower._settings = home
    poll(follower, swap)
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


@pytest.mark.parametrize("fault", ["changed", "added", "missing", "no manifest"])
def test_a_fetched_release_that_was_damaged_is_fetched_again_at_once(
    follower: ChampionFollower, swap: HotSwap, registry: Registry, home: Settings, fault: str
) -> None:
    spoil(registry.download(1, home.home / "releases" / "1"), fault)
    serve(registry, follower, swap, 1)
    assert answering(swap) == (1, "p007")
    assert swap.problem is None


@pytest.mark.parametrize("fault", ["changed", "missing"])
def test_a_refused_release_is_tried_again_after_a_minute(
    follower: ChampionFollower,
    swap: HotSwap,
    registry: Registry,
    own_files: Path,
    tmp_path: Path,
    clock: FakeClock,
    fault: str,
) -> None:
    folder = stored(registry, 1)
    shutil.copytree(folder, tmp_path / "whole")
    shutil.rmtree(folder) if fault == "missing" else spoil(folder, fault)
    serve(registry, follower, swap, 1)
    assert swap.current is None
    assert swap.problem is not None
    assert swap.problem.reason.startswith("Release 1 is refused: ")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tmp_path / "whole", folder)
    poll(follower, swap)
    assert swap.current is None, "not tried again at every poll"
    clock.now += RETRY_REFUSED_SECONDS
    poll(follower, swap)
    assert answering(swap) == (1, "p007")
    assert swap.problem is None


def promoted(registry: Registry, *versions: int) -> None:
    for version in versions:
        Promotions(registry).promote(version)


def readiness(app: FastAPI) -> tuple[int, str | None]:
    """The release and the problem that `/health/ready` names."""
    ready = TestClient(app, LOCAL).get("/health/ready").json()
    return ready["release"], ready["problem"]


@pytest.mark.parametrize("tag", [("gate.verdict", "rejected"), ("rolled_back", "poor answers")])
def test_an_alias_moved_by_hand_to_a_forbidden_release_is_not_followed(
    app: FastAPI, follower: ChampionFollower, swap: HotSwap, registry: Registry, tag: tuple[str, str]
) -> None:
    promoted(registry, 1)
    poll(follower, swap)
    registry.client.set_model_version_tag("recsim", "2", *tag)
    move_alias(registry, 2)
    poll(follower, swap)
    assert answering(swap) == (1, "p007")
    assert readiness(app) == (1, "alias_not_followed")
    assert swap.problem is not None
    assert swap.problem.reason.startswith(
        "The alias champion was moved by hand to release 2, which is not served: "
    )
    assert "`recsim promote --version 1` restores the alias" in swap.problem.reason
    restarted: HotSwap = create_app(follower._settings).state.swap
    shutil.rmtree(follower._folder)
    poll(follower, restarted)
    assert answering(restarted) == (1, "p007"), "with nothing fetched either"
    promoted(registry, 1)
    poll(follower, swap)
    assert readiness(app) == (1, None)


def test_a_deleted_champion_keeps_serving_from_its_copy_and_the_reason_is_shown(
    app: FastAPI, follower: ChampionFollower, swap: HotSwap, registry: Registry, home: Settings
) -> None:
    promoted(registry, 1, 2)
    poll(follower, swap)
    registry.client.delete_model_version("recsim", "2")
    for _ in range(2):
        poll(follower, swap)
    assert answering(swap) == (2, "p007-b")
    assert readiness(app)[1] == "alias_not_followed"
    assert swap.problem is not None
    assert swap.problem.reason.startswith(
        "Release 2 was in Production and was deleted from the registry. Release 1, which was in Production"
    )
    spoil(home.home / "releases" / "2", "changed")
    restarted: HotSwap = create_app(home).state.swap
    restarted.poll()
    poll(follower, restarted)
    assert answering(restarted) == (1, "p007"), "a copy that is no longer whole cannot be fetched again"
    assert restarted.problem is not None


def test_the_loaded_release_keeps_serving_when_all_releases_are_deleted(
    app: FastAPI, follower: ChampionFollower, swap: HotSwap, registry: Registry
) -> None:
    promoted(registry, 1)
    poll(follower, swap)
    registry.client.delete_registered_model("recsim")
    poll(follower, swap)
    assert answering(swap) == (1, "p007")
    assert readiness(app)[1] == "alias_not_followed"
    assert swap.problem is not None
    assert "No earlier release is left" in swap.problem.reason


def test_the_loaded_release_answers_while_the_registry_is_away(
    app: FastAPI, follower: ChampionFollower, swap: HotSwap, registry: Registry, home: Settings
) -> None:
    serve(registry, follower, swap, 1)
    lose_registry(follower)
    poll(follower, swap)
    assert answering(swap) == (1, "p007")
    assert readiness(app) == (1, "registry_unavailable")
    assert swap.problem is not None
    assert "http://127.0.0.1:9" in swap.problem.reason
    assert "\nrecsim_registry_up 0.0\n" in TestClient(app, LOCAL).get("/metrics").text
    follower._settings = home
    poll(follower, swap)
    assert swap.problem is None


def test_no_response_log_or_file_shows_credentials_of_the_registry(
    app: FastAPI, follower: ChampionFollower, swap: HotSwap, home: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    lose_registry(follower, "http://ada:swordfish@127.0.0.1:9")
    poll(follower, swap)
    ready = TestClient(app, LOCAL).get("/health/ready")
    stored = (home.home / "releases" / "serving.json").read_text()
    assert ready.json()["detail"] in STATES.values()
    assert "***@127.0.0.1:9" in stored
    for text in (
        ready.text,
        stored,
        TestClient(app, LOCAL).get("/v1/products").text,
        "".join(capfd.readouterr()),
    ):
        assert "swordfish" not in text


def test_a_full_disk_keeps_the_old_release(
    follower: ChampionFollower, swap: HotSwap, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(registry, follower, swap, 1)

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Registry, "download", full)
    serve(registry, follower, swap, 2)
    assert answering(swap) == (1, "p007")
    assert swap.problem is not None
    assert "No space left on device" in swap.problem.reason


def test_only_the_two_last_releases_stay_on_disk(
    follower: ChampionFollower, swap: HotSwap, registry: Registry, home: Settings
) -> None:
    shutil.copytree(registry.download(1, home.home / "fetched"), home.home / "releases" / "77")
    suspect_file(home, 77).touch()
    for version in (1, 2):
        serve(registry, follower, swap, version)
    assert {path.name for path in (home.home / "releases").iterdir()} == {"1", "2", "serving.json"}


def test_a_restarted_server_answers_from_its_copy_while_the_registry_is_away(
    follower: ChampionFollower, swap: HotSwap, registry: Registry, home: Settings
) -> None:
    serve(registry, follower, swap, 1)
    away = ChampionFollower(home.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"}))
    again: HotSwap = create_app(home).state.swap
    again.poll()
    assert answering(again) == (1, "p007")
    poll(away, again)
    assert answering(again) == (1, "p007")


@pytest.fixture
def followed(app: FastAPI, home: Settings, registry: Registry) -> Iterator[TestClient]:
    set_production(registry, 1)
    follower = ChampionFollower(home.model_copy(update={"serving_poll_seconds": 0.05}))
    follower.start()
    with TestClient(app, LOCAL) as client:
        wait_for(client, 1)
        yield client
    follower.stop()


def wait_for(client: TestClient, version: int) -> None:
    for _ in range(2000):
        if client.get("/health/ready").json().get("release") == version:
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"release {version} is not live: {client.get('/health/ready').json()}")


def test_swaps_under_load_fail_no_request_and_mix_no_response(
    followed: TestClient, registry: Registry
) -> None:
    done = threading.Event()
    answers: list[tuple[int, int, set[bool]]] = []

    def ask() -> None:
        while not done.is_set():
            answer = followed.post("/v1/similar", files={"image": png_image(7)}, data={"k": "10"})
            body = answer.json()
            answers.append(
                (
                    answer.status_code,
                    body["release"],
                    {row["product_id"].endswith("-b") for row in body["results"]},
                )
            )

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    for version in (2, 1, 2, 1, 2, 1):
        set_production(registry, version)
        wait_for(followed, version)
    done.set()
    for client in clients:
        client.join()
    assert {(status, release, tuple(found)) for status, release, found in answers} == {
        (200, 1, (False,)),
        (200, 2, (True,)),
    }
    assert len(answers) > 50
