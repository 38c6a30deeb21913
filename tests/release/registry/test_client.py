from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import ConfigurationError, MissingError, UnavailableError
from recsim_tasks.foundation.publishing import digests
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.learning.mlflow_runs import Tracker
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry.client import Registry
from release.bundles import CURSOR, make_bundle, png_image
from release.registered import register, set_production, stages
from release.servers import free_port


def test_there_is_no_champion_before_the_first_promotion(
    registry: Registry, read_only_bundle: Path, manifest: Manifest
) -> None:
    assert registry.champion() is None
    register(registry, read_only_bundle, manifest)
    assert registry.champion() is None
    assert stages(registry) == {1: "Staging"}


def test_the_champion_is_known_without_a_download(
    registry: Registry, read_only_bundle: Path, manifest: Manifest
) -> None:
    register(registry, read_only_bundle, manifest)
    set_production(registry, 1)
    champion = registry.champion()
    assert champion is not None
    assert (champion.version, champion.cursor, champion.size) == (1, CURSOR, 40)
    assert champion.model_fingerprint == manifest.model_fingerprint


def test_the_metrics_of_releases_are_curves_of_one_run(
    registry: Registry, tmp_path: Path, with_registry: Settings
) -> None:
    """A registration that is repeated adds no point; MLflow draws the metric's history as a line."""
    recalls = [1.0, 0.97, 0.99]
    for number, recall in enumerate(recalls):
        made = make_bundle(tmp_path / str(number), suffix=f"-{number}")
        metrics = made.metrics.model_copy(update={"ann_recall_at_10": recall})
        made = made.model_copy(update={"metrics": metrics}).sealed()
        made.write(tmp_path / str(number) / "release")
        for _ in range(2):
            register(registry, tmp_path / str(number) / "release", made, f"refresh-{number}")
    tracker = Tracker(with_registry)
    (run,) = tracker.client.search_runs([tracker.experiment_id], "tags.curve = 'releases'")
    points = tracker.client.get_metric_history(run.info.run_id, "ann_recall_at_10")
    assert sorted((point.step, point.value) for point in points) == [(1, 1.0), (2, 0.97), (3, 0.99)]
    assert registry.model_fingerprints() == {made.model_fingerprint}


def test_a_download_is_the_bundle_that_was_registered(
    registry: Registry, read_only_bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    register(registry, read_only_bundle, manifest)
    assert digests(registry.download(1, tmp_path / "fetched")) == digests(read_only_bundle)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_mlflow_that_does_not_answer_is_named_quickly(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    set_production(registry, version)
    assert digests(registry.download(version, tmp_path / "fetched")) == digests(read_only_bundle)
    with pytest.raises(MissingError, match="Release 99 does not exist"):
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
    command = [
        script("mlflow"),
        "models",
        "serve",
        "-m",
        "models:/recsim/1",
        "--env-manager",
        "local",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    env = {
        "MLFLOW_TRACKING_URI": with_registry.tracking_uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": "",
    }
    with running(command, f"http://127.0.0.1:{port}/health", tmp_path / "serve.log", env):
        body = {
            "dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(png_image(5)).decode()]]},
            "params": {"k": 2, "max_price": 20, "exclude": ["p007"], "distinct": True},
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            predictions = json.load(response)["predictions"]
    assert predictions[0][0]["product_id"] == "p005"
    assert len(predictions[0]) == 2
    assert predictions[0][1]["price"] <= 20
    assert predictions[0][1]["product_id"] != "p007"


@pytest.mark.server
def test_what_the_server_does_not_have_is_missing_and_a_refusal_is_a_refusal(
    with_server: Settings,
) -> None:
    registry = Registry(with_server)
    with pytest.raises(MissingError, match=r"answers 404: .*no-such-run"), registry.translated_errors():
        registry.client.get_run("no-such-run")
    with pytest.raises(ConfigurationError, match="refuses"), registry.translated_errors():
        registry.client.search_runs([registry.tracker.experiment_id], "no filter at all")


def test_a_bundle_that_fits_on_no_disk_is_named_as_such(
    registry: Registry, read_only_bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    """The limit on file sizes stands for a full disk: MLflow keeps only the text of both."""
    register(registry, read_only_bundle, manifest)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(UnavailableError, match=f"The disk is full.* at {tmp_path}"):
            registry.download(1, tmp_path / "fetched")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.glob("fetched*")) == []
