"""Releases in a registry, for tests that are not about the gate."""

from __future__ import annotations

from pathlib import Path

from recsim_tasks.release import registration
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.references import Origin
from recsim_tasks.release.registry import Registry
from recsim_tasks.release.stages import CHAMPION

PASS = {"verdict": "pass", "reasons": ["All is well."], "rules": []}
HOLD = {"verdict": "hold", "reasons": ["It is worse."], "rules": []}


def register(
    registry: Registry,
    bundle: Path,
    manifest: Manifest | None = None,
    refresh: str = "one",
    verdict: dict[str, object] = PASS,
    against: int | None = None,
) -> int:
    """Register a bundle as a refresh would, judged `against` this release, else against the champion of now."""
    champion = against if against is not None else registry.stages.aliases().get(CHAMPION)
    return registration.register(
        registry,
        bundle,
        manifest or Manifest.read(bundle),
        Origin(refresh, champion, ("monday", "tuesday")),
        verdict,
        "<p>All is well.</p>",
    )


def enthrone(registry: Registry, version: int) -> None:
    """Put a release into Production, whatever the gate says."""
    registry.stages.enthrone(version, registry.stages.aliases().get(CHAMPION))


def stages(registry: Registry) -> dict[int, str]:
    return {int(version.version): version.current_stage for version in registry.stages.versions()}
