"""Copies of a release on this machine, damaged in many ways, beside a registry that is intact or not."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import InputError, MissingError, RecsimError
from recsim_tasks.foundation.publishing import digests
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.local_copy import check_stored, open_copy, verified_copy
from release.bundles import make_bundle
from release.registered import register, stored
from release.servers import mlflow_server

INDEX, MODEL, MANIFEST = Path("index", "vectors.faiss"), Path("model", "model.tflite"), Path("manifest.json")


def replaced(path: Path, content: bytes) -> None:
    """Replace the file, not its content: published files may be hard links."""
    path.unlink()
    path.write_bytes(content)


def flip_a_byte(copy: Path) -> None:
    data = bytearray((copy / INDEX).read_bytes())
    data[len(data) // 2] ^= 1
    replaced(copy / INDEX, bytes(data))


def cut_the_manifest(copy: Path) -> None:
    replaced(copy / MANIFEST, (copy / MANIFEST).read_bytes()[:200])


def empty(copy: Path) -> None:
    shutil.rmtree(copy)
    copy.mkdir()


def file_in_its_place(copy: Path) -> None:
    shutil.rmtree(copy)
    copy.write_text("x")


def link_in_its_place(copy: Path) -> None:
    shutil.rmtree(copy.with_name("moved"), ignore_errors=True)
    copy.rename(copy.with_name("moved"))
    (copy.with_name("moved") / INDEX).unlink()
    copy.symlink_to(copy.with_name("moved"))


def dangling_link_in_its_place(copy: Path) -> None:
    shutil.rmtree(copy)
    copy.symlink_to(copy.with_name("nowhere"))


def link_to_a_file_elsewhere(copy: Path) -> None:
    (copy / INDEX).rename(copy.with_name("kept"))
    (copy / INDEX).symlink_to(copy.with_name("kept"))


def pipe(copy: Path) -> None:
    (copy / MODEL).unlink()
    os.mkfifo(copy / MODEL)


def other_release(copy: Path) -> None:
    shutil.rmtree(copy)
    another = Path(tempfile.mkdtemp(dir=copy.parent))
    make_bundle(another, seed=7, suffix="-x")
    shutil.copytree(another / "release", copy)


DAMAGES: list[Callable[[Path], object]] = [
    lambda copy: (copy / INDEX).unlink(),
    lambda copy: (copy / MODEL).unlink(),
    lambda copy: (copy / MANIFEST).unlink(),
    lambda copy: (copy / "extra.bin").write_bytes(b"x"),
    lambda copy: replaced(copy / MODEL, b""),
    *(flip_a_byte, cut_the_manifest, empty, file_in_its_place, link_in_its_place, dangling_link_in_its_place),
    *(link_to_a_file_elsewhere, pipe, other_release),
]
NAMES = [
    "no index",
    "no model",
    "no manifest",
    "extra",
    "empty file",
    *(damage.__name__ for damage in DAMAGES[5:]),
]


@pytest.fixture
def copy(registry: Registry, bundle: Path, tmp_path: Path) -> Path:
    """A whole copy of release 1."""
    register(registry, bundle)
    return registry.download(1, tmp_path / "copies" / "1")


@pytest.fixture(scope="module")
def whole_registry(
    tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path, read_only_bundle: Path
) -> Registry:
    """A registry with release 1, for tests that damage copies alone."""
    home = tmp_path_factory.mktemp("whole")
    (home / "mlflow").mkdir()
    shutil.copyfile(empty_mlflow, home / "mlflow" / "mlflow.db")
    registry = Registry(Settings.model_construct(home=home))
    register(registry, read_only_bundle)
    return registry


@pytest.mark.parametrize("damage", DAMAGES, ids=NAMES)
def test_a_damaged_copy_is_dropped_and_fetched_again(
    whole_registry: Registry,
    tmp_path: Path,
    bundle: Path,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = whole_registry
    copy = registry.download(1, tmp_path / "copies" / "1")
    damage(copy)
    release = open_copy(registry, registry.reference(1), copy)
    assert release.manifest.digests == digests(bundle, "manifest.json")
    assert digests(copy) == digests(bundle)
    assert not copy.is_symlink()
    damage(copy)
    assert verified_copy(registry, registry.reference(1), copy) == release.manifest
    assert digests(copy) == digests(bundle)
    assert "The local copy of release 1 is damaged; downloading it again: " in caplog.text


def test_a_copy_that_is_missing_is_fetched_and_a_whole_one_is_not_fetched_again(
    registry: Registry, copy: Path, bundle: Path
) -> None:
    inode = copy.stat().st_ino
    open_copy(registry, registry.reference(1), copy)
    assert copy.stat().st_ino == inode
    shutil.rmtree(copy)
    open_copy(registry, registry.reference(1), copy)
    assert digests(copy) == digests(bundle)


@pytest.mark.parametrize("damage", [flip_a_byte, cut_the_manifest, empty], ids=["byte", "manifest", "empty"])
def test_what_mlflow_keeps_is_named_as_damaged_and_no_copy_of_it_stays(
    registry: Registry, copy: Path, damage: Callable[[Path], None]
) -> None:
    damage(stored(registry, 1))
    open_copy(registry, registry.reference(1), copy)  # a whole copy needs no MLflow
    (copy / INDEX).unlink()
    with pytest.raises(
        InputError, match=r"^Release 1 is damaged in MLflow at sqlite.*: .*`recsim rollback`\.$"
    ):
        open_copy(registry, registry.reference(1), copy)
    assert not copy.exists()
    with pytest.raises(InputError, match="Release 1 is damaged in MLflow"):
        check_stored(registry, registry.reference(1))


def test_a_release_that_mlflow_lacks_is_missing_and_the_copy_is_named_too(
    registry: Registry, copy: Path
) -> None:
    shutil.rmtree(stored(registry, 1))
    (copy / INDEX).unlink()
    with pytest.raises(
        MissingError,
        match=rf"has no .*artifacts/release: it was removed\. The local copy in {copy} is damaged too\.",
    ):
        open_copy(registry, registry.reference(1), copy)
    for what in (lambda: check_stored(registry, registry.reference(1)), lambda: registry.manifest(1)):
        with pytest.raises(MissingError, match="it was removed"):
            what()


@pytest.mark.server
def test_through_a_server_missing_files_differ_from_a_server_that_is_away(
    tmp_path: Path, bundle: Path
) -> None:
    store = tmp_path / "server"
    with mlflow_server(store) as uri:
        registry = Registry(Settings.model_construct(home=tmp_path / "home", mlflow_tracking_uri=uri))
        register(registry, bundle)
        release = registry.reference(1)
        check_stored(registry, release)
        assert [path.name for path in (tmp_path / "home" / "releases").iterdir()] == [], (
            "the temporary copy is removed"
        )
        (index,) = (store / "artifacts").rglob("vectors.faiss")
        index.unlink()
        with pytest.raises(
            InputError, match=r"Release 1 is damaged in MLflow at .*: .*index/vectors\.faiss missing"
        ):
            check_stored(registry, release)
        shutil.rmtree(index.parents[1])
        for what in (lambda: check_stored(registry, release), lambda: registry.manifest(1)):
            with pytest.raises(MissingError, match="it was removed"):
                what()
    with pytest.raises(RecsimError) as away:
        check_stored(registry, release)
    assert not isinstance(away.value, InputError | MissingError)
