from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.foundation.errors import InputError, RecsimError, UnavailableError
from recsim_tasks.foundation.publishing import digests
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.learning.tracking import Tracker
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry import Registry
from recsim_tasks.vectors.filters import Filters
from release.bundles import CURSOR, METRICS, make_bundle, picture
from release.servers import free_port

PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def stages(registry: Registry) -> dict[int, str]:
    return {int(v.version): v.current_stage for v in registry._client.search_model_versions("name='recsim'")}


def aliases(registry: Registry) -> dict[str, int]:
    return registry._aliases()


@pytest.fixture
def registry(with_registry: Settings) -> Registry:
    return Registry(with_registry)


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other")
    make_bundle(folder, seed=1, count=50, suffix="-b", cursor=Cursor(CURSOR.table_id, 4))
    return folder / "release"


@pytest.fixture(scope="session")
def three_releases(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path, read_only_bundle: Path, other_bundle: Path) -> Path:
    """A home in which version 1 was in Production, 2 is, 3 waits; made once, copied for each test."""
    home = tmp_path_factory.mktemp("three")
    (home / "mlflow").mkdir()
    shutil.copyfile(empty_mlflow, home / "mlflow" / "mlflow.db")
    registry = Registry(Settings.model_construct(home=home))
    for number, bundle in enumerate([read_only_bundle, other_bundle, read_only_bundle], start=1):
        assert registry.register(bundle, f"refresh {number}", Manifest.read(bundle)) == number
    registry.promote(1)
    registry.promote(2)
    return home


@pytest.fixture
def three(with_registry: Settings, three_releases: Path) -> Registry:
    shutil.copyfile(three_releases / "mlflow" / "mlflow.db", with_registry.home / "mlflow" / "mlflow.db")
    return Registry(with_registry)


def test_there_is_no_champion_before_the_first_promotion(registry: Registry, read_only_bundle: Path, manifest: Manifest) -> None:
    assert registry.champion() is None
    registry.register(read_only_bundle, "one", manifest)
    assert registry.champion() is None
    assert stages(registry) == {1: "Staging"}


def test_the_champion_is_known_without_a_download(registry: Registry, read_only_bundle: Path, manifest: Manifest) -> None:
    registry.register(read_only_bundle, "one", manifest)
    assert registry.promote(1) == {"version": 1, "previous": None, "stage": "Production"}
    champion = registry.champion()
    assert champion is not None
    assert (champion.version, champion.cursor, champion.size, champion.metrics) == (1, CURSOR, 40, METRICS)
    assert champion.model_fingerprint == manifest.model_fingerprint


@pytest.mark.parametrize("refresh", ["manual__2026-11-24T03:00:00+00:00", "it's", 'a "quoted" id'])
def test_a_refresh_registers_once(registry: Registry, read_only_bundle: Path, manifest: Manifest, refresh: str) -> None:
    assert registry.register(read_only_bundle, refresh, manifest) == 1
    assert registry.register(read_only_bundle, refresh, manifest) == 1
    assert registry.register(read_only_bundle, "another", manifest) == 2


def test_a_version_and_its_run_tell_where_they_come_from(registry: Registry, read_only_bundle: Path, manifest: Manifest) -> None:
    registry.register(read_only_bundle, "one", manifest, ["All is well."])
    version = registry._client.get_model_version("recsim", "1")
    run = registry._client.get_run(version.run_id).data
    for tags in (version.tags, run.tags):
        assert tags["refresh_id"] == "one"
        assert (tags["catalogue.table_id"], tags["catalogue.version"]) == (CURSOR.table_id, "3")
        assert (tags["gate.verdict"], tags["gate.reasons"]) == ("pass", "All is well.")
        assert tags["model_fingerprint"] == manifest.model_fingerprint
    assert run.metrics == METRICS


def test_the_measures_of_releases_are_curves_of_one_run(registry: Registry, tmp_path: Path, with_registry: Settings) -> None:
    """A registration that is repeated adds no point; MLflow draws the metric's history as a line."""
    recalls = [1.0, 0.97, 0.99]
    for number, recall in enumerate(recalls):
        made = make_bundle(tmp_path / str(number), suffix=f"-{number}")
        told = made.model_copy(update={"metrics": {**made.metrics, "ann_recall_at_10": recall}}).sealed()
        told.write(tmp_path / str(number) / "release")
        for _ in range(2):
            registry.register(tmp_path / str(number) / "release", f"refresh-{number}", told)
    tracker = Tracker(with_registry)
    (run,) = tracker.client.search_runs([tracker.experiment_id], "tags.curve = 'releases'")
    points = tracker.client.get_metric_history(run.info.run_id, "ann_recall_at_10")
    assert sorted((point.step, point.value) for point in points) == [(1, 1.0), (2, 0.97), (3, 0.99)]
    assert registry.model_fingerprints() == {made.model_fingerprint}


def test_a_bundle_that_was_changed_is_not_registered(registry: Registry, bundle: Path, manifest: Manifest) -> None:
    (bundle / "index" / "items.parquet").write_bytes(b"other")
    with pytest.raises(InputError, match=r"items\.parquet"):
        registry.register(bundle, "one", manifest)
    assert stages(registry) == {}


def test_a_download_is_the_bundle_that_was_registered(
    registry: Registry, read_only_bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    registry.register(read_only_bundle, "one", manifest)
    assert digests(registry.download(1, tmp_path / "fetched")) == digests(read_only_bundle)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_nothing_that_is_stored_is_a_pickle(
    registry: Registry, with_registry: Settings, read_only_bundle: Path, manifest: Manifest
) -> None:
    registry.register(read_only_bundle, "one", manifest)
    place = registry._client.get_model_version_download_uri("recsim", "1").removeprefix("file://")
    stored = [path for path in Path(place).rglob("*") if path.is_file()]
    assert len(stored) > 10
    assert [path for path in stored if path.suffix in (".pkl", ".pickle") or path.read_bytes().startswith(PICKLES)] == []


def test_one_release_is_in_production_and_the_one_before_is_remembered(three: Registry) -> None:
    assert stages(three) == {1: "Archived", 2: "Production", 3: "Staging"}
    assert three.promote(3) == {"version": 3, "previous": 2, "stage": "Production"}
    assert stages(three) == {1: "Archived", 2: "Archived", 3: "Production"}
    assert aliases(three) == {"champion": 3, "previous": 2}


def test_a_promotion_that_is_repeated_changes_nothing(three: Registry) -> None:
    before = stages(three), aliases(three)
    assert three.promote(2) == {"version": 2, "previous": 1, "stage": "Production"}
    assert (stages(three), aliases(three)) == before


def test_a_rollback_brings_model_and_index_back(three: Registry, tmp_path: Path) -> None:
    assert three.rollback(None, "poor answers") == {"version": 1, "previous": 2, "stage": "Production", "reason": "poor answers"}
    release = Release.open(three.download(None, tmp_path / "fetched"))
    assert release.manifest.cursor == CURSOR
    assert release.similar(picture(7), 1, Filters())[0]["product_id"] == "p007"
    assert stages(three) == {1: "Production", 2: "Archived", 3: "Staging"}
    assert three._client.get_model_version("recsim", "2").tags["rolled_back"] == "poor answers"


def test_a_rollback_with_nothing_before_says_so(registry: Registry, read_only_bundle: Path, manifest: Manifest) -> None:
    with pytest.raises(InputError, match="nothing to roll back"):
        registry.rollback(None, "")
    registry.register(read_only_bundle, "one", manifest)
    registry.promote(1)
    with pytest.raises(InputError, match="none before it"):
        registry.rollback(None, "")


def test_a_version_that_is_not_there_changes_nothing(three: Registry) -> None:
    before = stages(three), aliases(three)
    for attempt in (three.promote, lambda version: three.rollback(version, ""), lambda version: three.download(version, Path("unused"))):
        with pytest.raises(InputError, match="no release 9"):
            attempt(9)
    assert (stages(three), aliases(three)) == before


@pytest.mark.parametrize(("action", "version", "calls"), [("promote", 3, 3), ("rollback", 1, 4)])
def test_a_change_killed_at_any_call_leaves_one_champion(
    three: Registry, with_registry: Settings, tmp_path: Path, action: str, version: int, calls: int
) -> None:
    for fatal in range(1, calls + 1):
        settings = copied(with_registry, tmp_path / f"killed at {fatal}")
        assert changed_in_a_child(settings, action, version, fatal) == -signal.SIGKILL
        registry = Registry(settings)
        registry.reconcile()
        assert aliases(registry)["champion"] == 2, "the alias is written last"
        assert [number for number, stage in stages(registry).items() if stage == "Production"] == [2]
        assert change(registry, action, version)["version"] == version
        assert [number for number, stage in stages(registry).items() if stage == "Production"] == [version]
        assert aliases(registry) == {"champion": version, "previous": 2}
    settings = copied(with_registry, tmp_path / "not killed")
    assert changed_in_a_child(settings, action, version, calls + 1) == 0, "there is no further call to be killed at"


def copied(settings: Settings, home: Path) -> Settings:
    """The same registry in a home of its own, which no connection of this process knows."""
    (home / "mlflow").mkdir(parents=True)
    shutil.copyfile(settings.home / "mlflow" / "mlflow.db", home / "mlflow" / "mlflow.db")
    return settings.model_copy(update={"home": home})


def change(registry: Registry, action: str, version: int) -> dict[str, object]:
    return registry.promote(version) if action == "promote" else registry.rollback(version, "a test")


def changed_in_a_child(settings: Settings, action: str, version: int, fatal: int) -> int:
    """Exit status of a process that is killed at the `fatal`-th call that would change the registry."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            _die_at(fatal)
            change(Registry(settings), action, version)
            os._exit(0)
        os._exit(9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _die_at(fatal: int) -> None:
    from mlflow import MlflowClient

    calls = iter(range(1, 100))

    def dying(method: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if next(calls) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **kwargs)

        return call

    for name in ("set_registered_model_alias", "transition_model_version_stage", "set_model_version_tag"):
        setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))


def test_a_first_promotion_killed_before_the_alias_leaves_no_champion(
    registry: Registry, read_only_bundle: Path, manifest: Manifest
) -> None:
    registry.register(read_only_bundle, "one", manifest)
    registry._set_stage(1, "Production")
    registry.reconcile()
    assert registry.champion() is None
    assert stages(registry) == {1: "Staging"}


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
    version = registry.register(read_only_bundle, "one", manifest)
    assert registry.register(read_only_bundle, "one", manifest) == version
    assert registry.promote(version)["stage"] == "Production"
    assert digests(registry.download(None, tmp_path / "fetched")) == digests(read_only_bundle)
    with pytest.raises(InputError, match="no release 99"):
        registry.promote(99)


@pytest.mark.server
def test_mlflows_own_server_answers_from_a_registered_release(
    with_registry: Settings, registry: Registry, read_only_bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    import base64
    import urllib.request

    from release.servers import running, script

    registry.register(read_only_bundle, "one", manifest)
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
        registry._client.get_run("no-such-run")
