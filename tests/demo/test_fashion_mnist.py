from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from recsim_demo import fashion_mnist
from recsim_demo.fashion_mnist import CATEGORIES, FILES, FashionMnist
from recsim_tasks.foundation.errors import ConfigurationError, InputError
from recsim_tasks.foundation.settings import Settings


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder with the real files; located before a test has settings of its own."""
    return fashion_mnist.locate()


@pytest.fixture
def folder(tmp_path: Path, real: Path) -> Path:
    """A copy of the real files, to damage."""
    return shutil.copytree(real, tmp_path / "fashion-mnist")


def test_the_real_images_come_with_their_labels(fashion_mnist: FashionMnist) -> None:
    assert fashion_mnist.train_images.shape == (60_000, 28, 28)
    assert fashion_mnist.test_images.shape == (10_000, 28, 28)
    assert fashion_mnist.train_images.dtype == np.uint8
    assert Counter(fashion_mnist.train_labels.tolist()) == dict.fromkeys(range(10), 6_000)
    assert Counter(fashion_mnist.test_labels.tolist()) == dict.fromkeys(range(10), 1_000)
    assert len(CATEGORIES) == 10


def test_labels_belong_to_their_images(fashion_mnist: FashionMnist) -> None:
    """Trousers are narrow, ankle boots dark at the top left: a shifted label file would mix them."""
    mean = {
        name: fashion_mnist.train_images[fashion_mnist.train_labels == label].mean(axis=0)
        for label, name in enumerate(CATEGORIES)
    }
    assert mean["Trouser"][:, :6].mean() < 5 < mean["Trouser"][:, 10:18].mean()
    assert mean["Ankle boot"][:8, :8].mean() < mean["Ankle boot"][20:, 8:].mean()


def test_files_with_another_compression_are_the_same_data_set(folder: Path) -> None:
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(gzip.decompress(labels.read_bytes()), compresslevel=1, mtime=7))
    assert len(fashion_mnist.load(folder).test_labels) == 10_000


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        fashion_mnist.load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_other_content_is_refused_by_name(folder: Path, name: str) -> None:
    content = bytearray(gzip.decompress((folder / name).read_bytes()))
    content[-1] ^= 1
    (folder / name).write_bytes(gzip.compress(bytes(content), compresslevel=1))
    with pytest.raises(InputError, match=f"{name} is not the published file"):
        fashion_mnist.load(folder)


@pytest.mark.parametrize("damage", ["truncate", "scramble", "replace"])
def test_an_incomplete_gzip_file_is_refused_by_name(folder: Path, damage: str) -> None:
    labels = folder / "train-labels-idx1-ubyte.gz"
    whole = labels.read_bytes()
    labels.write_bytes(
        {"truncate": whole[:9_000], "scramble": whole[:50] + bytes(100) + whole[150:], "replace": b"<html>"}[
            damage
        ]
    )
    with pytest.raises(InputError, match=r"train-labels-idx1-ubyte\.gz is not"):
        fashion_mnist.load(folder)


def test_the_configured_folder_is_used_and_no_other(
    settings: Settings, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASHION_MNIST_DIR", str(folder))
    assert fashion_mnist.locate() == folder
    monkeypatch.setenv("FASHION_MNIST_DIR", str(tmp_path))
    with pytest.raises(InputError, match="FASHION_MNIST_DIR"):
        fashion_mnist.load()


def test_files_that_were_fetched_before_are_used_again(
    settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "INSTALLED", Path("/absent"))
    cached = settings.home / "datasets" / "fashion-mnist"
    shutil.copytree(folder, cached)
    assert fashion_mnist.locate() == cached


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def debian(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt-get and a dpkg that deliver the real files as Debian's package does."""
    monkeypatch.setattr(fashion_mnist, "INSTALLED", Path("/usr/share/datasets/absent"))
    program(
        tmp_path / "bin",
        "apt-get",
        '[ "$1 $2" = "download dataset-fashion-mnist" ] && touch dataset-fashion-mnist_0_all.deb',
    )
    program(
        tmp_path / "bin",
        "dpkg",
        f'mkdir -p "$3/usr/share/datasets" && cp -r {folder} "$3/usr/share/datasets/absent"',
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path / "bin"


def test_debians_package_is_unpacked_without_installing_it(settings: Settings, debian: Path) -> None:
    fetched = fashion_mnist.locate()
    assert fetched == settings.home / "datasets" / "fashion-mnist"
    assert {path.name for path in fetched.iterdir()} == set(FILES)
    assert len(fashion_mnist.load().train_images) == 60_000


def test_old_package_lists_are_updated_by_root_and_named_to_other_users(
    settings: Settings, debian: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(
        debian,
        "apt-get",
        f'[ "$1" = update ] && touch {debian}/updated; [ -e {debian}/updated ] || '
        '{ echo "E: Unable to locate package" >&2; exit 100; }; touch a.deb',
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert len(list(fashion_mnist.locate().iterdir())) == 4
    (debian / "updated").unlink()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigurationError, match=r"Unable to locate package.*run `sudo apt-get update`"):
        fashion_mnist._download_package(settings.home)


def test_a_package_without_the_files_does_not_hide_the_next_source(
    settings: Settings, debian: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(debian, "dpkg", "true")
    monkeypatch.setattr(
        fashion_mnist, "_from_keras", lambda target: shutil.copytree(folder, target, dirs_exist_ok=True)
    )
    assert {path.name for path in fashion_mnist.locate().iterdir()} == set(FILES)


def test_without_a_source_the_error_says_what_to_do(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "INSTALLED", Path("/absent"))

    def unreachable(_: Path) -> None:
        raise ConfigurationError("The network is down.")

    monkeypatch.setattr(fashion_mnist, "_from_debian", unreachable)
    monkeypatch.setattr(fashion_mnist, "_from_keras", unreachable)
    with pytest.raises(ConfigurationError, match=r"The network is down\. .*name it in FASHION_MNIST_DIR"):
        fashion_mnist.locate()
    assert not list((settings.home / "datasets").iterdir())


def test_the_command_prints_the_error_and_ends_with_exit_code_2(settings: Settings, tmp_path: Path) -> None:
    environment = {**os.environ, "FASHION_MNIST_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "recsim_demo.fashion_mnist"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path}/train-images-idx3-ubyte.gz is missing.")
    assert "Traceback" not in done.stderr
