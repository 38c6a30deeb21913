"""Files that two releases share are stored once, if MLflow's artifacts are in a local folder.

They are hard links, not references: a version stays intact when the other is deleted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.foundation.publishing import file_digest, link_or_copy
from recsim_tasks.release.bundle import MODEL

if TYPE_CHECKING:
    from recsim_tasks.release.manifest import Manifest


def local_folder(uri: str) -> Path | None:
    """The folder of an artifact location; None if it is on a server or an object store."""
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    local = is_local_uri(uri, is_tracking_or_registry_uri=False)  # type: ignore[no-untyped-call]
    return Path(local_file_uri_to_path(uri)) if local else None  # type: ignore[no-untyped-call]


def same_files(manifest: Manifest, stored: Path) -> dict[str, Path]:
    """The model's files, by path in the bundle, that a stored bundle has exactly as in `manifest`."""
    names = {name: digest for name, digest in manifest.digests.items() if name.startswith(f"{MODEL}/")}
    return {
        name: stored / name
        for name, digest in names.items()
        if (stored / name).is_file() and file_digest(stored / name) == digest
    }


def remove_shared(files: dict[str, Path], bundle: Path) -> None:
    """Remove from a bundle, before it is uploaded, the files that are already stored."""
    for name in files:
        (bundle / name).unlink()


def link_shared(files: dict[str, Path], stored: Path) -> None:
    """Complete an uploaded bundle by links to the files that were already stored."""
    for name, file in files.items():
        (stored / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(file, stored / name)
