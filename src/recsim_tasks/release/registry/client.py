"""The registry of releases: the registered model `recsim` in MLflow, one version for each release."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.contracts import REGISTERED_MODEL
from recsim_tasks.foundation.errors import InputError, MissingError, RecsimError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.outages import diagnose
from recsim_tasks.foundation.publishing import publishing, scratch
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.mlflow_curves import CurvesRun
from recsim_tasks.learning.mlflow_errors import translated_errors
from recsim_tasks.learning.mlflow_runs import Tracker
from recsim_tasks.release.manifest import MANIFEST_FILE, Manifest
from recsim_tasks.release.registry.production import (
    IN_PRODUCTION,
    Production,
    alias_fault,
    resolve_champion,
    was_in_production,
)
from recsim_tasks.release.registry.references import ReleaseRef, is_release, reference_of
from recsim_tasks.release.registry.stages import CHAMPION, Stages, none_on

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

# The run whose metrics are curves over releases: index recall, precision, query time.
CURVE = "releases"
# The artifacts of a release's run with its verdict, with `.html` and `.json` appended.
VERDICT = "verdict/verdict"
NO_RELEASE = (
    "No release is in Production yet. Run a refresh first: deliver a feed, or trigger the DAG recsim_refresh."
)
# No pickle, no telemetry, nothing on stdout, and no lock file in the folder where a job was started.
MLFLOW_VARIABLES = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


class Registry:
    """The releases on the MLflow server of the settings."""

    def __init__(self, settings: Settings) -> None:
        """Connect; `UnavailableError` within seconds if the server does not answer."""
        os.environ.update(MLFLOW_VARIABLES)
        self.settings = settings
        self.tracker = Tracker(settings)
        self.client = self.tracker.client
        self._curves = CurvesRun(self.client, self.tracker.experiment_id, CURVE)
        self.stages = Stages(self.client)
        _set_default_uri(settings.tracking_uri)

    def production(self) -> Production:
        """The release in Production, and what is wrong with its alias.

        No release before the first promotion.
        """
        with self.translated_errors():
            aliased = self.stages.aliases().get(CHAMPION)
            kept = self._tags([] if aliased is None else [aliased])
            if aliased is not None and aliased in kept and alias_fault(kept[aliased]) is None:
                return Production(self.reference(aliased))
            points = [version for _, version in self.curve(IN_PRODUCTION)]
            resolved = resolve_champion(aliased, points, kept | self._tags(points))
            return Production(
                None if resolved.version is None else self.reference(resolved.version),
                resolved.problem,
                resolved.deleted,
            )

    def was_in_production(self, version: int) -> bool:
        """Whether `version` is or was in Production."""
        with self.translated_errors():
            points = [point for _, point in self.curve(IN_PRODUCTION)]
            aliased = self.stages.aliases().get(CHAMPION) == version
            return aliased or was_in_production(version, points, self.version(version).tags)

    def champion(self) -> ReleaseRef | None:
        """The release in Production; None before the first promotion."""
        return self.production().release

    def reference(self, version: int) -> ReleaseRef:
        """What the registry knows of `version`; `MissingError` if it does not exist."""
        with self.translated_errors():
            model_version = self.version(version)
        if not is_release(model_version):
            raise InputError(
                f"Version {version} of the model {REGISTERED_MODEL} was not registered by recsim and is no "
                f"release. Name another version."
            )
        return reference_of(model_version)

    def _tags(self, versions: Iterable[int]) -> dict[int, dict[str, str]]:
        """The tags of those of `versions` that the registry has."""
        known = {number: self._version(number) for number in set(versions)}
        return {number: dict(version.tags) for number, version in known.items() if version is not None}

    def references(self) -> list[ReleaseRef]:
        """What the registry knows of all its releases, oldest first."""
        with self.translated_errors():
            return [reference_of(version) for version in self.stages.versions() if is_release(version)]

    def download(self, version: int, into: Path) -> Path:
        """Download the bundle of `version` as the folder `into`.

        `local_copy` and `Release.open` check it later.
        """
        with self.translated_errors():
            place = self._place(version)
            with publishing(into) as staged:
                fetched = self._fetched(place, str(staged))
                for child in fetched.iterdir():
                    child.rename(staged / child.name)
                fetched.rmdir()
        return into

    @contextmanager
    def bundle(self, version: int) -> Iterator[Path]:
        """The bundle of `version` as MLflow stores it.

        In place if that is a local folder, else a temporary copy.
        """
        from recsim_tasks.release.registry.deduplication import local_folder

        with self.translated_errors():
            place = self._place(version)
        stored = local_folder(place)
        if stored is None:
            with scratch(self.settings.home.absolute() / "releases") as folder:
                yield self.download(version, folder / str(version))
        elif stored.is_dir():
            yield stored
        else:
            raise MissingError(
                f"MLflow at {redacted(self.settings.tracking_uri)} has no {place}: it was removed."
            )

    def manifest(self, version: int) -> Manifest:
        """The manifest of `version`, without the rest of its bundle."""
        with self.translated_errors(), tempfile.TemporaryDirectory() as folder:
            return Manifest.read(self._fetched(f"{self._place(version)}/{MANIFEST_FILE}", folder).parent)

    def _place(self, version: int) -> str:
        """The address of the bundle of `version` among MLflow's artifacts."""
        model_version = self.version(version)
        folder = self.client.get_model_version_download_uri(REGISTERED_MODEL, str(version))
        return f"{folder}/{model_version.tags['bundle']}"

    def _fetched(self, place: str, into: str) -> Path:
        """Copy a file or folder of the artifacts.

        MLflow tells a full disk, a lost connection and a missing file apart only in its messages.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            return Path(
                download_artifacts(artifact_uri=place, dst_path=into, tracking_uri=self.settings.tracking_uri)
            )
        except (MlflowException, OSError) as error:
            uri = redacted(self.settings.tracking_uri)
            # Checked first, since MLflow's server answers 500 for a file that was removed.
            if not self._exists(place):
                raise MissingError(f"MLflow at {uri} has no {place}: it was removed.") from error
            if known := diagnose(error, f"{into}, or MLflow at {uri}"):
                raise known from error
            raise RecsimError(
                f"MLflow at {uri} does not give {place}: {' '.join(redacted(str(error)).split())[:500]}"
            ) from error

    def _exists(self, place: str) -> bool:
        """Whether MLflow lists a file or folder of the artifacts.

        Each kind of store reports a missing one differently.
        """
        from mlflow.artifacts import list_artifacts

        folder, _, name = place.rpartition("/")
        files = list_artifacts(artifact_uri=folder, tracking_uri=self.settings.tracking_uri)
        return any(file.path.rpartition("/")[2] == name for file in files)

    def page(self, version: int) -> str:
        """The page of MLflow's UI with the verdict of `version`, as it follows `/#/`."""
        with self.translated_errors():
            run = f"experiments/{self.tracker.experiment_id}/runs/{self.version(version).run_id}"
            return f"{run}/artifacts/{VERDICT}.html"

    def model_fingerprints(self) -> set[str]:
        """The fingerprints of the models of all releases, in any stage."""
        with self.translated_errors():
            return {
                version.tags["model_fingerprint"] for version in self.stages.versions() if is_release(version)
            }

    def curve(self, name: str) -> list[tuple[float, int]]:
        """The points of a curve over releases, in order.

        The time in seconds since the epoch, and the value.
        """
        with self.translated_errors():
            return self._curves.points(name)

    def add_points(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve over releases; a step that exists is left alone."""
        self._curves.log(values, step)

    def version(self, version: int) -> ModelVersion:
        """The model version in MLflow; `MissingError` if it does not exist."""
        model_version = self._version(version)
        if model_version is None:
            raise MissingError(
                f"Release {version} does not exist. List the versions of the model {REGISTERED_MODEL} in "
                f"MLflow."
            )
        return model_version

    def _version(self, version: int) -> ModelVersion | None:
        return none_on(
            "RESOURCE_DOES_NOT_EXIST", lambda: self.client.get_model_version(REGISTERED_MODEL, str(version))
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the registry against other changes."""
        with lease(self.settings.home, f"registry {self.settings.tracking_uri}"), self.translated_errors():
            yield

    def translated_errors(self) -> AbstractContextManager[None]:
        """Translate MLflow's errors into ours."""
        return translated_errors(self.settings.tracking_uri)


def _set_default_uri(uri: str) -> None:
    """MLflow's stores use this default, which is otherwise a new database in the working directory."""
    import mlflow

    mlflow.set_tracking_uri(uri)
