from __future__ import annotations

import os
import shutil
import signal
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from recsim_tasks.foundation.errors import InputError, RejectedError
from recsim_tasks.foundation.publishing import digests
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.production import production_tag
from recsim_tasks.release.registry.promotion import Promotions
from release.bundles import CURSOR, METRICS, make_bundle
from release.killed import copied, in_a_child
from release.registered import REJECTED, register, set_production, stages, stored

PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@pytest.mark.parametrize("refresh", ["manual__2026-11-24T03:00:00+00:00", "it's", 'a "quoted" id'])
def test_a_refresh_registers_once(
    registry: Registry, read_only_bundle: Path, manifest: Manifest, refresh: str
) -> None:
    assert register(registry, read_only_bundle, manifest, refresh) == 1
    assert register(registry, read_only_bundle, manifest, refresh) == 1
    assert register(registry, read_only_bundle, manifest, "another") == 2


@pytest.mark.drill
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
        assert (version.tags["gate.verdict"], version.status) == ("passed", "READY")
        assert version.run_id is not None
        assert len(registry.client.list_artifacts(version.run_id, "verdict")) == 2
        assert digests(registry.download(1, settings.home / "fetched")) == digests(read_only_bundle)
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert fatal > 12


@pytest.mark.drill
@pytest.mark.parametrize("guarded", [True, False], ids=["as it is", "without the guard"])
def test_a_verdict_killed_while_it_is_replaced_promotes_no_rejected_release(
    with_registry: Settings, read_only_bundle: Path, tmp_path: Path, guarded: bool
) -> None:
    """It passed against release 7, then it is rejected against none, and killed at any call.

    The control keeps the old verdict until the new one is written: killed in between, the release is promoted
    with a verdict that another champion gave it.
    """
    register(Registry(with_registry), read_only_bundle, against=7)
    promoted = []
    for fatal in range(1, 40):
        settings = copied(with_registry, tmp_path / f"killed at {fatal}")

        def work(settings: Settings = settings) -> None:
            if not guarded:
                MlflowClient.delete_model_version_tag = lambda *_: None  # type: ignore[method-assign]
            register(Registry(settings), read_only_bundle, evaluation=REJECTED)

        status = in_a_child(fatal, work)
        try:
            Promotions(Registry(settings)).promote(1)
            promoted.append(fatal)
        except RejectedError:
            pass
        if status == 0:
            break
        assert status == -signal.SIGKILL
        register(Registry(settings), read_only_bundle, evaluation=REJECTED)
        assert Registry(settings).version(1).tags["gate.verdict"] == "rejected" or promoted
    assert bool(promoted) == (not guarded)
    assert fatal > 5


def test_a_version_and_its_run_tell_where_they_come_from(
    registry: Registry, read_only_bundle: Path, manifest: Manifest
) -> None:
    register(registry, read_only_bundle, manifest, "one")
    version = registry.client.get_model_version("recsim", "1")
    assert version.run_id is not None
    run = registry.client.get_run(version.run_id).data
    for tags in (version.tags, run.tags):
        assert tags["refresh_id"] == "one"
        assert (tags["catalogue.table_id"], tags["catalogue.version"]) == (CURSOR.table_id, "3")
        assert (tags["gate.verdict"], tags["gate.reasons"], tags["gate.champion"]) == (
            "passed",
            "All is well.",
            "",
        )
        assert (tags["feeds"], tags["code"], tags["training_run"]) == (
            "monday\ntuesday",
            metadata.version("recsim"),
            manifest.mlflow_run_id,
        )
        assert tags["model_fingerprint"] == manifest.model_fingerprint
    assert run.metrics == METRICS.measured
    assert {file.path for file in registry.client.list_artifacts(version.run_id, "verdict")} == {
        "verdict/verdict.html",
        "verdict/verdict.json",
    }


def test_a_refresh_that_is_evaluated_again_has_the_last_verdict(
    registry: Registry, read_only_bundle: Path, manifest: Manifest
) -> None:
    register(registry, read_only_bundle, manifest, evaluation=REJECTED)
    assert registry.client.get_model_version("recsim", "1").tags["gate.verdict"] == "rejected"
    assert register(registry, read_only_bundle, manifest) == 1
    version = registry.client.get_model_version("recsim", "1")
    assert (version.tags["gate.verdict"], version.current_stage) == ("passed", "Staging")


def test_a_bundle_that_was_changed_is_not_registered(
    registry: Registry, bundle: Path, manifest: Manifest
) -> None:
    (bundle / "index" / "items.parquet").write_bytes(b"other")
    with pytest.raises(InputError, match=r"items\.parquet"):
        register(registry, bundle, manifest)
    assert stages(registry) == {}


def test_what_an_append_has_in_common_with_the_champion_is_stored_once_and_outlives_it(
    registry: Registry, tmp_path: Path
) -> None:
    for number, suffix in (("1", ""), ("2", "-b")):
        made = make_bundle(tmp_path / number, suffix=suffix)
        version = register(registry, tmp_path / number / "release", made, number)
        set_production(registry, version)
    first, second = stored(registry, 1), stored(registry, 2)
    assert all((first / name).samefile(second / name) for name in made.digests if name.startswith("model/"))
    assert not any(
        (first / name).samefile(second / name) for name in made.digests if name.startswith("index/")
    )
    shutil.rmtree(first)
    assert digests(registry.download(2, tmp_path / "fetched")) == digests(tmp_path / "2" / "release")


def test_a_file_of_the_champion_that_was_damaged_is_not_shared(registry: Registry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "1")
    set_production(registry, register(registry, tmp_path / "1" / "release"))
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
    assert [
        path for path in stored if path.suffix in (".pkl", ".pickle") or path.read_bytes().startswith(PICKLES)
    ] == []


def test_a_champion_keeps_its_verdict_when_its_register_task_is_cleared(
    registry: Registry, read_only_bundle: Path
) -> None:
    """Its own `evaluate`, run again while it is in Production, would otherwise take it out of there."""
    register(registry, read_only_bundle)
    Promotions(registry).promote(1)
    register(registry, read_only_bundle, evaluation=REJECTED)
    assert registry.version(1).tags["gate.verdict"] == "passed"


def test_a_release_whose_promotion_was_killed_takes_a_new_verdict(
    registry: Registry, read_only_bundle: Path
) -> None:
    register(registry, read_only_bundle)
    registry.client.set_model_version_tag("recsim", "1", production_tag(0), "{}")
    register(registry, read_only_bundle, evaluation=REJECTED)
    with pytest.raises(RejectedError, match="The gate rejected release 1"):
        Promotions(registry).promote(1)


def test_a_champion_that_was_removed_meanwhile_costs_nothing_but_its_share(
    registry: Registry, tmp_path: Path
) -> None:
    for number, suffix in ((1, ""), (2, "-b")):
        made = make_bundle(tmp_path / str(number), suffix=suffix)
        if number == 2:
            registry.client.delete_model_version("recsim", "1")
        assert (
            register(
                registry, tmp_path / str(number) / "release", made, f"r{number}", against=number - 1 or None
            )
            == number
        )
    assert digests(registry.download(2, tmp_path / "fetched")) == digests(tmp_path / "2" / "release")


@pytest.mark.parametrize("flush", [True, False], ids=["as it is", "without a flush"])
def test_the_files_of_a_version_are_on_the_disk_before_the_version_exists(
    registry: Registry, read_only_bundle: Path, monkeypatch: pytest.MonkeyPatch, flush: bool
) -> None:
    """A loss of power after a promotion leaves no champion without files; the control flushes nothing."""
    flushed: set[str] = set()
    before_version: list[set[str]] = []
    fsync, create = os.fsync, registry.client.create_model_version

    def recorded(descriptor: int) -> None:
        if flush:
            fsync(descriptor)
            flushed.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    def created(*args: Any, **kwargs: Any) -> Any:
        before_version.append(set(flushed))
        return create(*args, **kwargs)

    monkeypatch.setattr(os, "fsync", recorded)
    monkeypatch.setattr(registry.client, "create_model_version", created)
    register(registry, read_only_bundle)
    place = Path(registry.client.get_model_version_download_uri("recsim", "1").removeprefix("file://"))
    artifacts = registry.settings.home / "mlflow" / "artifacts"
    around = [folder for folder in place.parents if folder.is_relative_to(artifacts.parent)]
    needed = {str(path) for path in [*place.rglob("*"), place, *around]}
    assert len(needed) > 15
    assert (needed <= before_version[0]) == flush
    assert bool(needed & before_version[0]) == flush
