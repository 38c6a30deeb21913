"""Releases in a registry, for tests that are not about the gate."""

from __future__ import annotations

from pathlib import Path

from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry import registration
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.references import Origin
from recsim_tasks.release.registry.stages import CHAMPION

PASS = {"verdict": "pass", "reasons": ["All is well."], "rules": []}
HOLD = {"verdict": "hold", "reasons": ["It is worse."], "rules": []}


def register(
    registry: Registry,
    bundle: Path,
    manifest: Manifest | None = None,
    refresh: str = "one",
    verdict: dict[str, object] = PASS,
    against: int | None = None,
    asks: bool = False,
) -> int:
    """Register a bundle as a refresh would, judged `against` this release, else against the champion of now."""
    champion = against if against is not None else registry.stages.aliases().get(CHAMPION)
    return registration.register(
        registry,
        bundle,
        manifest or Manifest.read(bundle),
        Origin(refresh, champion, ("monday", "tuesday"), asks),
        verdict,
        "<p>All is well.</p>",
    )


def enthrone(registry: Registry, version: int) -> None:
    """Put a release into Production, whatever the gate says."""
    registry.stages.enthrone(version, registry.stages.aliases().get(CHAMPION))


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
    return {int(version.version): version.current_stage for version in registry.stages.versions()}
