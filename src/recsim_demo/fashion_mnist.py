"""Fashion-MNIST, 70,000 images of products: found on this machine or fetched, and checked before use.

`python -m recsim_demo.fashion_mnist` fetches the files and prints where they are.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsim_local.console import echo
from recsim_tasks.arrays import UInt8Array
from recsim_tasks.foundation.errors import ConfigurationError, InputError, RecsimError
from recsim_tasks.foundation.publishing import publishing
from recsim_tasks.foundation.settings import load_settings

CATEGORIES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
PACKAGE = "dataset-fashion-mnist"
KERAS_ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
# SHA-256 of the uncompressed files: sources compress the same bytes differently.
FILES = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
FOLDER = "FASHION_MNIST_DIR"
BY_HAND = "Put the four .idx gz files of Fashion-MNIST into a folder and name it in FASHION_MNIST_DIR."


@dataclass(frozen=True)
class FashionMnist:
    """60,000 images to train, 10,000 to test: uint8 [n, 28, 28]; labels index `CATEGORIES`."""

    train_images: UInt8Array
    train_labels: UInt8Array
    test_images: UInt8Array
    test_labels: UInt8Array


def load(folder: Path | None = None) -> FashionMnist:
    """Read the data set from `folder`, by default from the one that `locate` finds or fetches.

    `InputError` if a file is missing or differs from the published one, `ConfigurationError` if no source has
    it.
    """
    folder = folder or locate()
    train_images, train_labels, test_images, test_labels = (_content(folder / name) for name in FILES)
    return FashionMnist(
        _images(train_images), _labels(train_labels), _images(test_images), _labels(test_labels)
    )


def locate() -> Path:
    """The folder with the four files: the configured, the installed or the cached one, or one fetched now."""
    if named := os.environ.get(FOLDER):
        return Path(named)
    cached = load_settings().home.absolute() / "datasets" / "fashion-mnist"
    for folder in (INSTALLED, cached):
        if all((folder / name).is_file() for name in FILES):
            return folder
    with publishing(cached) as staged:
        _fetch(staged)
    return cached


def _fetch(folder: Path) -> None:
    failures = []
    for fetch in (_from_debian, _from_keras):
        try:
            fetch(folder)
        except ConfigurationError as error:
            failures.append(str(error))
        else:
            return
    raise ConfigurationError(f"Cannot fetch Fashion-MNIST. {' '.join(failures)} {BY_HAND}")


def _from_debian(folder: Path) -> None:
    """Unpack Debian's package without installing it, which needs no root."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise ConfigurationError("This machine has no apt-get.")
    echo(f"Fetching Fashion-MNIST (31 MB): apt-get download {PACKAGE}")
    unpacked = folder / "package"
    unpacked.mkdir()
    try:
        _download_package(unpacked)
        for package in unpacked.glob("*.deb"):
            _run(["dpkg", "-x", str(package), str(unpacked)], unpacked)
        for name in FILES:
            (unpacked / INSTALLED.relative_to("/") / name).rename(folder / name)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{PACKAGE} has no {INSTALLED / Path(error.filename).name}.") from error
    finally:
        shutil.rmtree(unpacked)


def _download_package(folder: Path) -> None:
    try:
        _run(["apt-get", "download", PACKAGE], folder)
    except ConfigurationError as error:
        if os.geteuid() != 0:
            raise ConfigurationError(
                f"{error} The package lists may be old: run `sudo apt-get update` and try again."
            ) from error
        _run(["apt-get", "update"], folder)
        _run(["apt-get", "download", PACKAGE], folder)


def _from_keras(folder: Path) -> None:
    """Fetch the files of `tf.keras.datasets.fashion_mnist` with Keras's downloader."""
    echo(f"Fetching Fashion-MNIST (31 MB) from {KERAS_ORIGIN}")
    import tensorflow as tf

    for name in FILES:
        try:
            tf.keras.utils.get_file(name, origin=KERAS_ORIGIN + name, cache_dir=str(folder), cache_subdir=".")
        except Exception as error:  # Keras wraps every network error in a bare Exception
            raise ConfigurationError(f"{KERAS_ORIGIN}{name} could not be fetched: {error}.") from error


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        message = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigurationError(f"`{' '.join(command)}` failed: {message}.")


def _content(path: Path) -> bytes:
    """The uncompressed file, if it is the published one."""
    if not path.is_file():
        raise InputError(f"{path} is missing. {BY_HAND}")
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path} is not a complete gzip file ({error}). Delete it and run `make setup`."
        ) from error
    if hashlib.sha256(content).hexdigest() != FILES[path.name]:
        raise InputError(
            f"{path} is not the published file: its SHA-256 differs. Delete it and run `make setup`."
        )
    return content


def _images(idx: bytes) -> UInt8Array:
    return np.frombuffer(idx, np.uint8, offset=16).reshape(-1, 28, 28)


def _labels(idx: bytes) -> UInt8Array:
    return np.frombuffer(idx, np.uint8, offset=8)


def main() -> int:
    """Fetch and check the files, and print where they are; the exit code is 0, or an error's."""
    try:
        folder = locate()
        load(folder)
    except RecsimError as error:
        echo(str(error))
        return error.exit_code
    echo(f"Fashion-MNIST: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
