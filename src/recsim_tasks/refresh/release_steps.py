"""The steps of a refresh that deal with its release, and what a person does with one by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from recsim_tasks.contracts import (
    EvaluateResult,
    GateResult,
    PromoteResult,
    RegisterResult,
    ResumeResult,
    RollbackResult,
    VerifyResult,
)
from recsim_tasks.foundation.errors import InputError, RejectedError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.candidate import Candidate
from recsim_tasks.refresh.catalogue_images import canary_images
from recsim_tasks.refresh.evaluate import PAGE
from recsim_tasks.refresh.workspace import Workspace

if TYPE_CHECKING:
    from recsim_tasks.release.manifest import Manifest
    from recsim_tasks.release.registry.approval import Approval, Through


def register(settings: Settings, workspace: Workspace, ask: bool = False) -> RegisterResult:
    """Register the candidate as one release in Staging, with its verdict, whatever the verdict is.

    A refresh registers one release, also when this runs again; a release that was in Production keeps its
    stage and verdict. With `ask`, it is promoted only after an approval. `InputError` if the index is not the
    one that was evaluated.
    """
    from recsim_tasks.release.registry import registration
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.production import verdict_of
    from recsim_tasks.release.registry.references import Origin

    evaluation, page = workspace.result(EvaluateResult), _page(workspace)
    candidate = Candidate.open(settings, workspace)
    _check_evaluated(workspace, candidate, evaluation)
    origin = Origin(
        refresh_id=workspace.refresh_id,
        champion=evaluation.champion,
        feeds=tuple(feed.feed_id for feed in candidate.feeds),
        ask=ask,
    )
    registry = Registry(settings)
    version = registration.register(
        registry,
        registration.Registration(
            bundle=workspace.release,
            manifest=_assemble(settings, workspace, candidate, evaluation),
            origin=origin,
            evaluation=evaluation,
            page=page,
        ),
    )
    with registry.translated_errors():
        registered = registry.version(version)
    return RegisterResult(
        version=version,
        previous=evaluation.champion,
        stage=registered.current_stage,
        verdict=verdict_of(registered.tags)[0] or evaluation.verdict,
        mlflow_page=registry.page(version),
    )


def gate(settings: Settings, workspace: Workspace) -> GateResult:
    """Return the verdict of the release that this refresh registered; `RejectedError` if it is rejected.

    The verdict is read from the registry, whatever the workspace says.
    """
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.production import verdict_of

    registry = Registry(settings)
    version = workspace.result(RegisterResult).version
    with registry.translated_errors():
        verdict, reasons = verdict_of(registry.version(version).tags)
    if verdict is None:
        raise InputError(
            f"Release {version} has no verdict yet. Run `recsim register --refresh {workspace.refresh_id}` "
            f"again."
        )
    result = GateResult(version=version, verdict=verdict, reasons=reasons, mlflow_page=registry.page(version))
    if verdict == "rejected":
        raise RejectedError(f"The gate rejected release {version}. {' '.join(reasons)}", result)
    return result


def promote(
    settings: Settings, version: int, by: str, through: Through = "cli", answered_at: float | None = None
) -> PromoteResult:
    """Put a release into Production; `answered_at` is when `by` approved it, if a person was asked."""
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.promotion import Promotions

    return Promotions(Registry(settings)).promote(version, by, through, answered_at)


def reject(settings: Settings, version: int, rejection: Approval) -> NoReturn:
    """Record the rejection of a release; always raises `RejectedError`."""
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.promotion import Promotions

    raise Promotions(Registry(settings)).reject(version, rejection)


def rollback(settings: Settings, to: int | None, reason: str, by: str, through: Through) -> RollbackResult:
    """Put an earlier release back into Production and freeze promotions."""
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.promotion import Promotions

    return Promotions(Registry(settings)).rollback(to, reason, by, through)


def resume(settings: Settings, by: str, through: Through) -> ResumeResult:
    """Let refreshes promote again."""
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.promotion import Promotions

    return Promotions(Registry(settings)).resume(by, through)


def verify(settings: Settings, version: int) -> VerifyResult:
    """Wait until the serving side answers from `version`, if a serving side is set."""
    from recsim_tasks.refresh.serving_probe import wait_until_live

    if settings.serving_url is None:
        reason = "No serving URL is set (RECSIM_SERVING_URL); the registry has the release in Production."
        return VerifyResult(version=version, live=None, waited_seconds=None, reasons=[reason])
    waited = wait_until_live(settings, version)
    reason = f"{settings.serving_url} answers from release {version} after {waited:.1f} s."
    return VerifyResult(version=version, live=True, waited_seconds=waited, reasons=[reason])


def _check_evaluated(workspace: Workspace, candidate: Candidate, evaluation: EvaluateResult) -> None:
    """Refuse a verdict on another index, which a step that was cleared alone has replaced since."""
    if candidate.index.metadata.index_fingerprint != evaluation.index_fingerprint:
        raise InputError(
            f"The index of refresh {workspace.refresh_id} has changed since it was evaluated. Run "
            f"`recsim evaluate --refresh {workspace.refresh_id}` again."
        )


def _page(workspace: Workspace) -> str:
    try:
        return (workspace.folder / PAGE).read_text()
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be read: {error.strerror}. "
            f"Run `recsim evaluate --refresh {workspace.refresh_id}` again."
        ) from error


def _assemble(
    settings: Settings, workspace: Workspace, candidate: Candidate, evaluation: EvaluateResult
) -> Manifest:
    from recsim_tasks.catalogue.delta.reader import committed_at
    from recsim_tasks.release.bundle import BundleContents, assemble

    contents = BundleContents(
        model=workspace.model,
        index=workspace.index,
        canary_images=canary_images(settings, candidate.head),
        metrics=evaluation.metrics,
        training=candidate.training,
        catalogue_at=committed_at(settings.products_uri, candidate.head.version),
    )
    return assemble(contents, workspace.release)
