"""Put a bundle into the registry: a version in Staging, with its lineage, the gate's verdict and the page that shows it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.foundation.errors import MissingError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.publishing import fsync_parents, fsync_tree
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry.approval import APPROVAL, Approval
from recsim_tasks.release.registry.client import VERDICT, Registry
from recsim_tasks.release.registry.deduplication import local_folder, put_in, same_files, take_out
from recsim_tasks.release.registry.mlflow_model import bundle_place, pack
from recsim_tasks.release.registry.production import was_in_production
from recsim_tasks.release.registry.references import LONGEST_TAG, Origin, tags_of
from recsim_tasks.release.registry.stages import NAME, unless

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models.model import Model

DESCRIPTION = "Releases of recsim: each is a model and the index made by it."


def register(
    registry: Registry,
    bundle: Path,
    manifest: Manifest,
    origin: Origin,
    verdict: Mapping[str, Any],
    page: str,
) -> int:
    """Register a bundle as a version in Staging, once a refresh, with the gate's `verdict` and the `page` that shows it.

    Raises `InputError` when the bundle is not what its manifest says.
    """
    # An upload may take minutes, for which nobody shall wait who wants to roll back.
    with (
        lease(
            registry.settings.home, f"registration of {origin.refresh_id} at {registry.settings.tracking_uri}"
        ),
        registry.translated_errors(),
    ):
        version = _version_of(registry, origin.refresh_id, manifest) or _create(
            registry, bundle, manifest, origin
        )
    number = int(version.version)
    with registry.alone():
        if not was_in_production(
            registry.version(number).tags
        ):  # a champion keeps the verdict that it came with
            _keep_verdict(registry, version, origin, verdict, page)
        if version.current_stage == "None":
            registry.stages.stage(number)
        registry.follow(manifest.metrics, number)
    return number


def _version_of(registry: Registry, refresh_id: str, manifest: Manifest) -> ModelVersion | None:
    """The version that a refresh made of this very content; one that was planned anew after a clear makes another."""
    unless(
        "RESOURCE_ALREADY_EXISTS",
        lambda: registry.client.create_registered_model(NAME, description=DESCRIPTION),
    )
    quote = '"' if "'" in refresh_id else "'"
    found = registry.client.search_model_versions(
        f"name='{NAME}' and tags.refresh_id={quote}{refresh_id}{quote}"
    )
    same = [version for version in found if version.tags["index_fingerprint"] == manifest.index_fingerprint]
    return min(same, key=lambda version: int(version.version), default=None)


def _create(registry: Registry, bundle: Path, manifest: Manifest, origin: Origin) -> ModelVersion:
    from mlflow.entities import LoggedModelOutput, Metric, RunTag
    from mlflow.models.model import Model

    Release.open(bundle)
    tags = tags_of(manifest, origin)
    metrics = [Metric(name, value, 0, 0) for name, value in manifest.metrics.items()]
    with registry.tracker.run(f"release {origin.refresh_id}", manifest.cursor, {}) as run:
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
            pack(bundle, manifest, model, Path(scratch) / "model")
            _upload(registry, Path(scratch) / "model", model, manifest, origin.champion)
        registry.client.finalize_logged_model(logged.model_id, "READY")
        registry.client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, 0)])
        tags["bundle"] = bundle_place(model)
        return registry.client.create_model_version(
            NAME, f"models:/{logged.model_id}", run.run_id, tags, model_id=logged.model_id
        )


def _upload(registry: Registry, packed: Path, model: Model, manifest: Manifest, champion: int | None) -> None:
    """Store a packed model, but for what the champion has stored already."""
    place, stored = bundle_place(model), local_folder(str(model.artifact_path))
    same: dict[str, Path] = {}
    if stored and champion:
        same = _stored_already(registry, manifest, champion)
    take_out(same, packed / place)
    registry.client.log_model_artifacts(str(model.model_id), str(packed))
    if stored:
        put_in(same, stored / place)
        fsync_tree(stored)
        fsync_parents(stored)


def _stored_already(registry: Registry, manifest: Manifest, champion: int) -> dict[str, Path]:
    """What of the bundle the champion has in a folder that this process sees; nothing when it was removed meanwhile."""
    try:
        with registry.bundle(champion) as before:
            return same_files(manifest, before)
    except MissingError:
        return {}


def _keep_verdict(
    registry: Registry, version: ModelVersion, origin: Origin, verdict: Mapping[str, Any], page: str
) -> None:
    """A refresh that is judged again has the last verdict."""
    run_id = str(version.run_id)
    registry.client.log_text(run_id, page, f"{VERDICT}.html")
    registry.client.log_dict(run_id, dict(verdict), f"{VERDICT}.json")
    if origin.asks and APPROVAL not in version.tags:
        registry.client.set_model_version_tag(NAME, version.version, APPROVAL, Approval("awaited").as_tag())
    told = {
        "gate.champion": str(origin.champion or ""),
        "gate.reasons": " ".join(verdict["reasons"])[:LONGEST_TAG],
    }
    for name, value in {**told, "gate.verdict": str(verdict["verdict"])}.items():
        registry.client.set_model_version_tag(NAME, version.version, name, value)
        registry.client.set_tag(run_id, name, value)
