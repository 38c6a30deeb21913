"""What a version's tags in the registry tell of a release, and where it came from."""

from __future__ import annotations

import json
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
    metrics: dict[str, float]
    source: str
    feeds: tuple[str, ...]
    """What it took in that the champion had not, as far as there was room to note it."""


@dataclass(frozen=True)
class Origin:
    """Where a release comes from, beside what its manifest says."""

    refresh_id: str
    """Of the refresh, which is the id of its DAG run."""
    champion: int | None
    """The release that it was judged against."""
    feeds: tuple[str, ...] = ()
    """What it took in that the champion had not."""
    asks: bool = False
    """Whether a person is asked before it is promoted."""


def tags_of(manifest: Manifest, origin: Origin) -> dict[str, str]:
    """The tags of a version and of its run."""
    return {
        "refresh_id": origin.refresh_id,
        "feeds": _whole("\n".join(origin.feeds)),
        "code": metadata.version("recsim"),
        "catalogue.table_id": manifest.cursor.table_id,
        "catalogue.version": str(manifest.cursor.version),
        "model_fingerprint": manifest.model_fingerprint,
        "index_fingerprint": manifest.index_fingerprint,
        "products": str(manifest.counts["products"]),
        "metrics": json.dumps(manifest.metrics),
        **({"training_run": manifest.mlflow_run_id} if manifest.mlflow_run_id else {}),
    }


def is_release(version: ModelVersion) -> bool:
    """Whether recsim has registered a version: a person may have put another model under the same name."""
    return "refresh_id" in version.tags and "metrics" in version.tags


def reference_of(version: ModelVersion) -> ReleaseRef:
    """Read the tags of a version."""
    tags = version.tags
    return ReleaseRef(
        version=int(version.version),
        cursor=Cursor(tags["catalogue.table_id"], int(tags["catalogue.version"])),
        model_fingerprint=tags["model_fingerprint"],
        index_fingerprint=tags["index_fingerprint"],
        size=int(tags["products"]),
        metrics=json.loads(tags["metrics"]),
        source=str(version.source),
        feeds=tuple(filter(None, tags["feeds"].split("\n"))),
    )


def _whole(lines: str) -> str:
    """As many lines as there is room for: half an id may be another one's."""
    return lines if len(lines) <= LONGEST_TAG else lines[:LONGEST_TAG].rpartition("\n")[0]
