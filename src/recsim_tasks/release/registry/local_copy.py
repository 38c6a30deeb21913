"""Copies of a release on this machine: verified at each use, and fetched again when they are damaged."""

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
# Why a release cannot be read: an outage is none of these.
UNREADABLE = (InputError, MissingError)


def open_copy(
    registry: Registry, release: ReleaseRef, folder: Path, max_pixels: int = DEFAULT_QUERY_PIXELS
) -> Release:
    """Open the copy `folder` of a release with all its checks; a damaged or missing copy is fetched again.

    Raises `InputError` when what MLflow keeps is damaged, `MissingError` when MLflow does not keep it.
    """

    def opened(place: Path) -> Release:
        found = Release.open(place, max_pixels)
        _check_same(found.manifest, release)
        return found

    return _taken(registry, release, folder, opened)


def whole_copy(registry: Registry, release: ReleaseRef, folder: Path) -> Manifest:
    """Verify the files of the copy `folder` without opening them; otherwise as `open_copy`."""
    return _taken(registry, release, folder, lambda place: whole(place, release))


def whole(folder: Path, release: ReleaseRef) -> Manifest:
    """Read the manifest of a folder that holds this release, each file as listed; else `InputError`."""
    manifest = Manifest.of_whole(folder)
    _check_same(manifest, release)
    return manifest


def check_stored(registry: Registry, release: ReleaseRef) -> None:
    """Open a release as MLflow keeps it, with all its checks; `InputError` or `MissingError` when that fails."""
    with registry.bundle(release.version) as folder:
        try:
            _check_same(Release.open(folder).manifest, release)
        except InputError as error:
            raise InputError(_damaged(registry, release, error)) from error


def _taken(registry: Registry, release: ReleaseRef, folder: Path, read: Callable[[Path], T]) -> T:
    damage = ""
    if os.path.lexists(folder):
        try:
            return read(folder)
        except InputError as error:
            damage = f" The local copy in {folder} is damaged too."
            log.info(
                f"The local copy of release {release.version} is damaged and fetched again from MLflow: {error}"
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
    return f"What MLflow at {uri} keeps of release {release.version} is damaged: {error} Run a refresh, or go back with `recsim rollback`."


def _check_same(manifest: Manifest, release: ReleaseRef) -> None:
    found = (manifest.model_fingerprint, manifest.index_fingerprint, manifest.cursor)
    if found != (release.model_fingerprint, release.index_fingerprint, release.cursor):
        raise InputError("Its model, index or catalogue version is not the one that the registry names.")
