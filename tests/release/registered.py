"""Releases in a registry, for tests that are not about the gate."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from recsim_tasks.contracts import EvaluateResult, RebuildComparison, Verdict
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry import registration
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.references import Origin
from recsim_tasks.release.registry.stages import CHAMPION
from release.bundles import METRICS


def evaluated(verdict: Verdict, *reasons: str) -> EvaluateResult:
    """A result of `evaluate` with this verdict."""
    return EvaluateResult(
        verdict=verdict,
        reasons=list(reasons),
        doubts=[],
        mended_by_rebuild=False,
        rules=[],
        metrics=METRICS,
        slices={},
        since_training={},
        since_champion={},
        rebuild=RebuildComparison(
            size=40,
            missing=0,
            unexpected=0,
            outdated=0,
            compared=40,
            differing=0,
            overlap=1.0,
            rebuilt_overlap=1.0,
        ),
        champion=None,
        decision="append",
        index_fingerprint="0" * 64,
    )


PASSED = evaluated("passed", "All is well.")
REJECTED = evaluated("rejected", "It is worse.")


# Where MLflow's tables name files.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def register(
    registry: Registry,
    bundle: Path,
    manifest: Manifest | None = None,
    refresh: str = "one",
    evaluation: EvaluateResult = PASSED,
    against: int | None = None,
    ask: bool = False,
) -> int:
    """Register a bundle as a refresh would, compared with the release `against`, else with the champion."""
    champion = against if against is not None else registry.stages.aliases().get(CHAMPION)
    new = registration.Registration(
        bundle=bundle,
        manifest=manifest or Manifest.read(bundle),
        origin=Origin(refresh, champion, ("monday", "tuesday"), ask),
        evaluation=evaluation,
        page="<p>All is well.</p>",
    )
    return registration.register(registry, new)


def set_production(registry: Registry, version: int) -> None:
    """Put a release into Production, whatever the gate says."""
    registry.stages.set_production(version, registry.stages.aliases().get(CHAMPION))


def stored(registry: Registry, version: int) -> Path:
    """The bundle of a version in the embedded registry's own folder."""
    place = Path(
        registry.client.get_model_version_download_uri("recsim", str(version)).removeprefix("file://")
    )
    return place / registry.version(version).tags["bundle"]


def move_alias(registry: Registry, version: int) -> None:
    """What a person does in MLflow's UI."""
    registry.client.set_registered_model_alias("recsim", CHAMPION, str(version))


def stages(registry: Registry) -> dict[int, str]:
    return {int(version.version): str(version.current_stage) for version in registry.stages.versions()}


def copy_home(home: Path, to: Path) -> None:
    """Copy a home with its embedded registry, which then names its own files."""
    shutil.copytree(home, to)
    with closing(sqlite3.connect(to / "mlflow" / "mlflow.db")) as database, database:
        for table, column in PLACES:
            text = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            database.execute(text, (str(home), str(to)))
