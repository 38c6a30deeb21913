from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import InputError, RecsimError, UnavailableError
from recsim_tasks.foundation.publishing import digests
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.learning.tracking import Tracker
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry import Registry
from release.bundles import CURSOR, METRICS, make_bundle, picture
from release.killed import copied, in_a_child
from release.registered import HOLD, enthrone, register, stages
from release.servers import free_port

PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@pytest.fixture
def registry(with_registry: Settings) -> Registry:
    return Registry(with_registry)


def test_there_is_no_champion_before_the_first_promotion(registry: Registry, read_only_bundle: Path, manifest: Manifest) -> None:
    assert registry.champion() is None
    register(registry, read_only_bundle, manifest)
    assert registry.champion() is None
    assert stages(registry) == {1: "Staging"}


def test_the_champion_is_known_without_a_download(registry: Registry, read_only_bundle: Path, manifest: Manifest) -> None:
    register(registry, read_only_bundle, manifest)
    enthrone(registry, 1)
    champion = registry.champion()
    assert champion is not None
    assert (champion.version, champion.cursor, champion.size, champion.metrics) == (1, CURSOR, 40, METRICS)
    assert champion.model_fingerprint == manifest.model_fingerprint


@pytest.mark.parametrize("refresh", ["manual__2026-11-24T03:00:00+00:00", "it's", 'a "quoted" id'])
def test_a_refresh_registers_once(registry: Registry, read_only_bundle: Path, manifest: Manifest, refresh: str) -> None:
    assert register(registry, read_only_bundle, manifest, refresh) == 1
    assert register(registry, read_only_bundle, manifest, refresh) == 1
    assert register(registry, read_only_bundle, manifest, "another") == 2


def test_a_registration_killed_at_any_call_is_made_whole_by_the_next_try(
    with_registry: Settings, read_only_bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    for fatal in range(1, 60):
        settings = copied(with_registry, tmp_path / f"killed at {fatal}")
        status = in_a_child(fatal, lambda: register(Registry(settings), read_only_bundle, manifest))  # noqa: B023
        registry = Registry(settings)
        assert register(registry, read_only_bundle, manifest) == 1
        assert stages(registry) == {1: "Staging"}
        version = registry.version(1)
        assert (version.tags["gate.verdict"], version.status) == ("pass", "READY")
        assert len(registry.client.list_artifacts(version.run_id, "verdict")) == 2
        assert digests(registry.download(1, settings.home / "fetched")) == digests(read_only_bundle)
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert fatal > 12


def test_a_version_and_its_run_tell_where_they_come_from(registry: Registry, read_only_bundle: Path, manifest: Manifest) -> None:
    register(registry, read_only_bundle, manifest, "one")
    version = registry.client.get_model_version("recsim", "1")
    run = registry.client.get_run(version.run_id).data
    for tags in (version.tags, run.tags):
        assert tags["refresh_id"] == "one"
        assert (tags["catalogue.table_id"], tags["catalogue.version"]) == (CURSOR.table_id, "3")
        assert (tags["gate.verdict"], tags["gate.reasons"], tags["gate.champion"]) == ("pass", "All is well.", "")
        assert (tags["feeds"], tags["code"], tags["training_run"]) == (
            "monday\ntuesday",
            metadata.version("recsim"),
            manifest.mlflow_run_id,
        )
        assert tags["model_fingerprint"] == manifest.model_fingerprint
    assert run.metrics == METRICS
    assert {file.path for file in registry.client.list_artifacts(version.run_id, "verdict")} == {
        "verdict/verdict.html",
        "verdict/verdict.json",
    }


def test_a_refresh_that_is_judged_again_has_the_last_verdict(registry: Registry, read_only_bundle: Path, manifest: Manifest) -> None:
    register(registry, read_only_bundle, manifest, verdict=HOLD)
    assert registry.client.get_model_version("recsim", "1").tags["gate.verdict"] == "hold"
    assert register(registry, read_only_bundle, manifest) == 1
    version = registry.client.get_model_version("recsim", "1")
    assert (version.tags["gate.verdict"], version.current_stage) == ("pass", "Staging")


def test_the_measures_of_releases_are_curves_of_one_run(registry: Registry, tmp_path: Path, with_registry: Settings) -> None:
    """A registration that is repeated adds no point; MLflow draws the metric's history as a line."""
    recalls = [1.0, 0.97, 0.99]
    for number, recall in enumerate(recalls):
        made = make_bundle(tmp_path / str(number), suffix=f"-{number}")
        told = made.model_copy(update={"metrics": {**made.metrics, "ann_recall_at_10": recall}}).sealed()
        told.write(tmp_path / str(number) / "release")
        for _ in range(2):
            register(registry, tmp_path / str(number) / "release", told, f"refresh-{number}")
    tracker = Tracker(with_registry)
    (run,) = tracker.client.search_runs([tracker.experiment_id], "tags.curve = 'releases'")
    points = tracker.client.get_metric_history(run.info.run_id, "ann_recall_at_10")
    assert sorted((point.step, point.value) for point in points) == [(1, 1.0), (2, 0.97), (3, 0.99)]
    assert registry.model_fingerprints() == {made.model_fingerprint}


def test_a_bundle_that_was_changed_is_not_registered(registry: Registry, bundle: Path, manifest: Manifest) -> None:
    (bundle / "index" / "items.parquet").write_bytes(b"other")
    with pytest.raises(InputError, match=r"items\.parquet"):
        register(registry, bundle, manifest)
    assert stages(registry) == {}


def test_a_download_is_the_bundle_that_was_registered(
    registry: Registry, read_only_bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    register(registry, read_only_bundle, manifest)
    assert digests(registry.download(1, tmp_path / "fetched")) == digests(read_only_bundle)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def stored(registry: Registry, version: int) -> Path:
    """The bundle of a version in the embedded registry's own folder."""
    place = Path(registry.client.get_model_version_download_uri("recsim", str(version)).removeprefix("file://"))
    return place / registry.version(version).tags["bundle"]


def test_what_an_append_has_in_common_with_the_champion_is_stored_once_and_outlives_it(registry: Registry, tmp_path: Path) -> None:
    for number, suffix in (("1", ""), ("2", "-b")):
        made = make_bundle(tmp_path / number, suffix=suffix)
        version = register(registry, tmp_path / number / "release", made, number)
        enthrone(registry, version)
    first, second = stored(registry, 1), stored(registry, 2)
    assert all((first / name).samefile(second / name) for name in made.digests if name.startswith("model/"))
    assert not any((first / name).samefile(second / name) for name in made.digests if name.startswith("index/"))
    shutil.rmtree(first)
    assert digests(registry.download(2, tmp_path / "fetched")) == digests(tmp_path / "2" / "release")


def test_a_file_of_the_champion_that_was_damaged_is_not_shared(registry: Registry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "1")
    enthrone(registry, register(registry, tmp_path / "1" / "release"))
    with (stored(registry, 1) / "model" / "model.tflite").open("r+b") as file:
        file.write(b"damaged")
    make_bundle(tmp_path / "2", suffix="-b")
    register(registry, tmp_path / "2" / "release", refresh="two")
    assert digests(registry.download(2, tmp_path / "fetched")) == digests(tmp_path / "2" / "release")


def test_nothing_that_is_stored_is_a_pickle(
    registry: Registry, with_registry: Settings, read_only_bundle: Path, manifest: Manifest
) -> None:
    register(registry, read_only_bundle, manifest)
    place = registry.client.get_model_version_download_uri("recsim", "1").removeprefix("file://")
    stored = [path for path in Path(place).rglob("*") if path.is_file()]
    assert len(stored) > 10
    assert [path for path in stored if path.suffix in (".pkl", ".pickle") or path.read_bytes().startswith(PICKLES)] == []


def test_an_mlflow_that_does_not_answer_is_named_quickly(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=f"{uri}.*MLFLOW_TRACKING_URI"):
        Registry(load_settings())
    assert time.monotonic() - began < 10


@pytest.mark.server
def test_a_release_goes_through_a_real_server_and_comes_back(
    with_server: Settings, read_only_bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    registry = Registry(with_server)
    version = register(registry, read_only_bundle, manifest)
    assert register(registry, read_only_bundle, manifest) == version
    enthrone(registry, version)
    assert digests(registry.download(None, tmp_path / "fetched")) == digests(read_only_bundle)
    with pytest.raises(InputError, match="no release 99"):
        registry.download(99, tmp_path / "none")


@pytest.mark.server
def test_mlflows_own_server_answers_from_a_registered_release(
    with_registry: Settings, registry: Registry, read_only_bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    import base64
    import urllib.request

    from release.servers import running, script

    register(registry, read_only_bundle, manifest)
    port = free_port()
    command = [script("mlflow"), "models", "serve", "-m", "models:/recsim/1", "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    env = {
        "MLFLOW_TRACKING_URI": with_registry.tracking_uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": "",
    }
    with running(command, f"http://127.0.0.1:{port}/health", tmp_path / "serve.log", env):
        body = {
            "dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(picture(5)).decode()]]},
            "params": {"k": 2, "max_price": 20},
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            predictions = json.load(response)["predictions"]
    assert predictions[0][0]["product_id"] == "p005"
    assert len(predictions[0]) == 2
    assert predictions[0][1]["price"] <= 20


@pytest.mark.server
def test_a_refusal_of_the_server_is_told_as_one(with_server: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(with_server)
    with pytest.raises(RecsimError, match="refuses"), registry._speaking():
        registry.client.get_run("no-such-run")
