from __future__ import annotations

import shutil
import signal
from importlib import metadata
from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import digests
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry import Registry
from release.bundles import CURSOR, METRICS, make_bundle
from release.killed import copied, in_a_child
from release.registered import HOLD, enthrone, register, stages

PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


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


def test_a_bundle_that_was_changed_is_not_registered(registry: Registry, bundle: Path, manifest: Manifest) -> None:
    (bundle / "index" / "items.parquet").write_bytes(b"other")
    with pytest.raises(InputError, match=r"items\.parquet"):
        register(registry, bundle, manifest)
    assert stages(registry) == {}


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
