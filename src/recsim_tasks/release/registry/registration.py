"""Register a bundle: a version in Staging, with its lineage, its verdict and the page that shows it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.contracts import REGISTERED_MODEL, EvaluateResult
from recsim_tasks.foundation.errors import MissingError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.publishing import fsync_parents, fsync_tree
from recsim_tasks.foundation.text import one_line
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry.approval import APPROVAL, Approval
from recsim_tasks.release.registry.client import VERDICT, Registry
from recsim_tasks.release.registry.deduplication import link_shared, local_folder, remove_shared, same_files
from recsim_tasks.release.registry.mlflow_model import bundle_place, pack
from recsim_tasks.release.registry.production import COMPARED_TAG, REASONS_TAG, VERDICT_TAG
from recsim_tasks.release.registry.references import LONGEST_TAG, Origin, tags_of
from recsim_tasks.release.registry.stages import none_on

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models.model import Model

DESCRIPTION = "Releases of recsim: each is an encoder and the index that was built with it."


@dataclass(frozen=True)
class Registration:
    """What is registered as one version."""

    bundle: Path
    manifest: Manifest
    origin: Origin
    evaluation: EvaluateResult
    """Has the verdict."""
    page: str
    """The HTML page that shows the verdict."""


def register(registry: Registry, new: Registration) -> int:
    """Register a bundle as a version in Staging with its verdict, once for each refresh; returns the version.

    If it runs again, the version has the last verdict, unless it was in Production in the meantime.
    `InputError` if the bundle does not match its manifest.
    """
    settings = registry.settings
    # An upload may take minutes, and must not block a rollback.
    with (
        lease(settings.home, f"registration of {new.origin.refresh_id} at {settings.tracking_uri}"),
        registry.translated_errors(),
    ):
        version = _existing(registry, new) or _create(registry, new)
    number = int(version.version)
    with registry.locked():
        if not registry.was_in_production(number):  # a champion keeps the verdict it was promoted with
            _store_verdict(registry, number, new)
        if registry.version(number).current_stage == "None":
            registry.stages.stage(number)
        registry.add_points(new.manifest.metrics.measured, number)
    return number


def _existing(registry: Registry, new: Registration) -> ModelVersion | None:
    """The version that this refresh made of the same content.

    A refresh that was planned again makes another.
    """
    none_on(
        "RESOURCE_ALREADY_EXISTS",
        lambda: registry.client.create_registered_model(REGISTERED_MODEL, description=DESCRIPTION),
    )
    refresh_id = new.origin.refresh_id
    quote = '"' if "'" in refresh_id else "'"
    versions = registry.client.search_model_versions(
        f"name='{REGISTERED_MODEL}' and tags.refresh_id={quote}{refresh_id}{quote}"
    )
    same = [
        version for version in versions if version.tags["index_fingerprint"] == new.manifest.index_fingerprint
    ]
    return min(same, key=lambda version: int(version.version), default=None)


def _create(registry: Registry, new: Registration) -> ModelVersion:
    from mlflow.entities import LoggedModelOutput, Metric, RunTag
    from mlflow.models.model import Model

    Release.open(new.bundle)
    manifest, tags = new.manifest, tags_of(new.manifest, new.origin)
    metrics = [Metric(name, value, 0, 0) for name, value in manifest.metrics.measured.items()]
    with registry.tracker.run(f"release {new.origin.refresh_id}", manifest.cursor, {}) as run:
        registry.client.log_batch(
            run.run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()]
        )
        logged = registry.client.create_logged_model(
            registry.tracker.experiment_id, "release", source_run_id=run.run_id, tags=tags
        )
        model = Model(
            artifact_path=logged.artifact_location,
            run_id=run.run_id,
            model_id=logged.model_id,
            model_uuid=logged.model_id,
        )
        with tempfile.TemporaryDirectory() as scratch:
            pack(new.bundle, manifest, model, Path(scratch) / "model")
            _upload(registry, Path(scratch) / "model", model, manifest, new.origin.champion)
        registry.client.finalize_logged_model(logged.model_id, "READY")
        registry.client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, 0)])
        tags["bundle"] = bundle_place(model)
        return registry.client.create_model_version(
            REGISTERED_MODEL, f"models:/{logged.model_id}", run.run_id, tags, model_id=logged.model_id
        )


def _upload(registry: Registry, packed: Path, model: Model, manifest: Manifest, champion: int | None) -> None:
    """Store a packed model, except the files that are already stored for the champion."""
    place, stored = bundle_place(model), local_folder(str(model.artifact_path))
    shared: dict[str, Path] = {}
    if stored and champion:
        shared = _stored_already(registry, manifest, champion)
    remove_shared(shared, packed / place)
    registry.client.log_model_artifacts(str(model.model_id), str(packed))
    if stored:
        link_shared(shared, stored / place)
        fsync_tree(stored)
        fsync_parents(stored)


def _stored_already(registry: Registry, manifest: Manifest, champion: int) -> dict[str, Path]:
    """The files that the champion has as well, in a folder that this process sees; none if it was removed."""
    try:
        with registry.bundle(champion) as champion_bundle:
            return same_files(manifest, champion_bundle)
    except MissingError:
        return {}


def _store_verdict(registry: Registry, version: int, new: Registration) -> None:
    """Replace the verdict of a version.

    If this is killed, the version has none, and is not promoted until the next try.
    """
    stored, client, number = registry.version(version), registry.client, str(version)
    run_id, tags = str(stored.run_id), stored.tags
    if VERDICT_TAG in tags:
        client.delete_model_version_tag(REGISTERED_MODEL, number, VERDICT_TAG)
    client.log_text(run_id, new.page, f"{VERDICT}.html")
    client.log_dict(run_id, new.evaluation.model_dump(mode="json"), f"{VERDICT}.json")
    if new.origin.ask and APPROVAL not in tags:
        client.set_model_version_tag(REGISTERED_MODEL, number, APPROVAL, Approval("awaited").as_tag())
    verdict = {
        COMPARED_TAG: str(new.origin.champion or ""),
        REASONS_TAG: "\n".join(map(one_line, new.evaluation.reasons))[:LONGEST_TAG],
        VERDICT_TAG: new.evaluation.verdict,  # last: a version without it is not promoted
    }
    for name, value in verdict.items():
        client.set_model_version_tag(REGISTERED_MODEL, number, name, value)
        client.set_tag(run_id, name, value)
