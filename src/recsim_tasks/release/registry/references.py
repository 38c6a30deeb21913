"""What the tags of a version in the registry say about a release, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from recsim_tasks.contracts import Cursor
from recsim_tasks.release.manifest import Manifest

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

# MLflow refuses 5,000 characters and more.
LONGEST_TAG = 4_900


@dataclass(frozen=True)
class ReleaseRef:
    """What the registry knows of a release without downloading it."""

    version: int
    cursor: Cursor
    model_fingerprint: str
    index_fingerprint: str
    size: int
    feeds: tuple[str, ...]
    """The feeds that it has and the champion did not have, as many as fit into a tag."""


@dataclass(frozen=True)
class Origin:
    """Where a release comes from, beyond what its manifest says."""

    refresh_id: str
    """The id of the refresh, which is that of its DAG run."""
    champion: int | None
    """The release that it was compared with."""
    feeds: tuple[str, ...] = ()
    """The feeds that it has and the champion did not have."""
    ask: bool = False
    """Whether a person must approve it before it is promoted."""


def tags_of(manifest: Manifest, origin: Origin) -> dict[str, str]:
    """The tags of a version and of its run."""
    return {
        "refresh_id": origin.refresh_id,
        "feeds": _whole_lines("\n".join(origin.feeds)),
        "code": metadata.version("recsim"),
        "catalogue.table_id": manifest.cursor.table_id,
        "catalogue.version": str(manifest.cursor.version),
        "model_fingerprint": manifest.model_fingerprint,
        "index_fingerprint": manifest.index_fingerprint,
        "products": str(manifest.counts["products"]),
        **({"training_run": manifest.mlflow_run_id} if manifest.mlflow_run_id else {}),
    }


def is_release(version: ModelVersion) -> bool:
    """Whether recsim registered a version: a person may have put another model under the same name."""
    return "refresh_id" in version.tags and "index_fingerprint" in version.tags


def reference_of(version: ModelVersion) -> ReleaseRef:
    """Read the tags of a version."""
    tags = version.tags
    return ReleaseRef(
        version=int(version.version),
        cursor=Cursor(tags["catalogue.table_id"], int(tags["catalogue.version"])),
        model_fingerprint=tags["model_fingerprint"],
        index_fingerprint=tags["index_fingerprint"],
        size=int(tags["products"]),
        feeds=tuple(filter(None, tags["feeds"].split("\n"))),
    )


def _whole_lines(lines: str) -> str:
    """As many whole lines as fit into a tag: half an id may be the id of another feed."""
    return lines if len(lines) <= LONGEST_TAG else lines[:LONGEST_TAG].rpartition("\n")[0]
