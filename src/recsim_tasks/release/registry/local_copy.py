"""Copies of a release on this machine: verified at each use, and downloaded again if they are damaged."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from recsim_tasks.foundation.errors import InputError, MissingError
from recsim_tasks.foundation.limits import DEFAULT_QUERY_PIXELS
from recsim_tasks.foundation.publishing import remove
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.manifest import Manifest

if TYPE_CHECKING:
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.references import ReleaseRef

log = logging.getLogger(__name__)

T = TypeVar("T")
# Errors that mean that a release cannot be read; an outage is not one of them.
UNREADABLE = (InputError, MissingError)


def open_copy(
    registry: Registry, release: ReleaseRef, folder: Path, max_pixels: int = DEFAULT_QUERY_PIXELS
) -> Release:
    """Open the copy `folder` of a release with all its checks; a damaged or missing copy is downloaded again.

    Raises `InputError` if the release is damaged in MLflow, `MissingError` if MLflow does not have it.
    """

    def open_release(place: Path) -> Release:
        opened = Release.open(place, max_pixels)
        _check_same(opened.manifest, release)
        return opened

    return _read_or_download(registry, release, folder, open_release)


def verified_copy(registry: Registry, release: ReleaseRef, folder: Path) -> Manifest:
    """Verify the files of the copy `folder` without opening the release; otherwise like `open_copy`."""
    return _read_or_download(registry, release, folder, lambda place: read_intact(place, release))


def read_intact(folder: Path, release: ReleaseRef) -> Manifest:
    """Read the manifest of a folder with this release; `InputError` if any file does not match it."""
    manifest = Manifest.of_whole(folder)
    _check_same(manifest, release)
    return manifest


def check_stored(registry: Registry, release: ReleaseRef) -> None:
    """Open a release as MLflow stores it, with all its checks.

    `InputError` or `MissingError` if that fails.
    """
    with registry.bundle(release.version) as folder:
        try:
            _check_same(Release.open(folder).manifest, release)
        except InputError as error:
            raise InputError(_damaged(registry, release, error)) from error


def _read_or_download(registry: Registry, release: ReleaseRef, folder: Path, read: Callable[[Path], T]) -> T:
    damage = ""
    if os.path.lexists(folder):
        try:
            return read(folder)
        except InputError as error:
            damage = f" The local copy in {folder} is damaged too."
            log.warning(
                "The local copy of release %d is damaged; downloading it again: %s", release.version, error
            )
    try:
        registry.download(release.version, folder)
    except MissingError as error:
        raise MissingError(f"{error}{damage}") from error
    try:
        return read(folder)
    except InputError as error:
        remove(folder)
        raise InputError(_damaged(registry, release, error)) from error


def _damaged(registry: Registry, release: ReleaseRef, error: InputError) -> str:
    uri = redacted(registry.settings.tracking_uri)
    return (
        f"Release {release.version} is damaged in MLflow at {uri}: {error} Run a refresh, or go back with "
        "`recsim rollback`."
    )


def _check_same(manifest: Manifest, release: ReleaseRef) -> None:
    actual = (manifest.model_fingerprint, manifest.index_fingerprint, manifest.cursor)
    if actual != (release.model_fingerprint, release.index_fingerprint, release.cursor):
        raise InputError("Its model, index or catalogue version is not the one in the registry.")
