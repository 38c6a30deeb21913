"""What a step needs from the steps before it: verified, or an error that names the step to run again."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.foundation.errors import InputError, MissingError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.workspace import Workspace

if TYPE_CHECKING:
    from recsim_tasks.release.manifest import Manifest
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.references import ReleaseRef
    from recsim_tasks.vectors.index import Index

log = logging.getLogger(__name__)


def fetch_champion(settings: Settings, workspace: Workspace) -> Path | None:
    """Fetch the bundle of the planned champion into the workspace, verified.

    None if the plan has no champion.
    """
    from recsim_tasks.release.registry.client import Registry

    plan = workspace.plan
    if plan.champion is None or plan.champion_unreadable:
        return None
    registry = Registry(settings)
    try:
        champion_copy(settings, workspace, registry, registry.reference(plan.champion))
    except (InputError, MissingError) as error:
        again = f"Run `plan` again: clear that task, or `recsim plan --refresh {workspace.refresh_id}`."
        raise type(error)(f"The champion can no longer be read: {error} {again}") from error
    return workspace.champion


def champion_copy(
    settings: Settings, workspace: Workspace, registry: Registry, release: ReleaseRef
) -> Manifest:
    """Fetch the bundle of a release as the workspace's champion, verified.

    It uses the copy in the workspace, else MLflow's, else another intact copy on this machine. `InputError`
    or `MissingError` if none is intact.
    """
    from recsim_tasks.release.registry.local_copy import UNREADABLE, read_intact, verified_copy

    folder = workspace.champion_of(release.version)
    try:
        return verified_copy(registry, release, folder)
    except UNREADABLE as error:
        for other in _other_copies(settings, release.version):
            try:
                manifest = read_intact(other, release)
            except InputError:
                continue
            log.warning("Using the intact copy in %s: %s", other, error)
            _copy(other, folder)
            return manifest
        raise


def champion_manifest(
    settings: Settings, workspace: Workspace, registry: Registry, release: ReleaseRef
) -> Manifest:
    """Read the manifest of a release, without its bundle if MLflow has it; errors as in `champion_copy`."""
    from recsim_tasks.release.registry.local_copy import UNREADABLE

    try:
        return registry.manifest(release.version)
    except UNREADABLE:
        return champion_copy(settings, workspace, registry, release)


def own_index(workspace: Workspace, writable: bool = False) -> Index:
    """Open the index that this refresh made; `InputError` names the step to run again."""
    from recsim_tasks.vectors.index import Index

    try:
        return Index.open(workspace.index, writable=writable)
    except InputError as error:
        action = "append" if workspace.plan.decision == "append" else "build"
        raise InputError(_again(workspace, "index", f"index {action}", error)) from error


def take_model(settings: Settings, workspace: Workspace) -> Path:
    """Verify the model of the candidate, this refresh's own or the champion's; returns its folder."""
    from recsim_tasks.learning.model.export import check_published

    if workspace.plan.decision != "retrain":
        fetch_champion(settings, workspace)
        return workspace.model
    try:
        check_published(workspace.own_model)
    except InputError as error:
        raise InputError(_again(workspace, "model", "train", error)) from error
    return workspace.own_model


def _again(workspace: Workspace, made: str, job: str, error: InputError) -> str:
    step, refresh = job.split()[0], workspace.refresh_id
    return (
        f"The {made} of refresh {refresh} is missing or damaged: {error} Run `{step}` again: clear that "
        f"task, or `recsim {job} --refresh {refresh}`."
    )


def _other_copies(settings: Settings, version: int) -> list[Path]:
    """Where serving, a query or another refresh may have a copy of a release."""
    home = settings.home.absolute()
    return [
        home / "releases" / str(version),
        home / "query" / str(version),
        *home.glob(f"refreshes/*/champion-{version}"),
    ]


def _copy(source: Path, target: Path) -> None:
    from recsim_tasks.foundation.publishing import link_or_copy, publishing

    with publishing(target) as staged:
        shutil.copytree(source, staged, copy_function=link_or_copy, dirs_exist_ok=True)
