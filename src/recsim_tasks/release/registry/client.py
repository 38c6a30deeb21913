"""The registry of releases: MLflow's registered model `recsim`, a version a release. What is in Production is `promotion`'s."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.foundation.errors import InputError, MissingError, RecsimError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.outages import diagnose
from recsim_tasks.foundation.publishing import publishing, scratch
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.mlflow_errors import translated_errors
from recsim_tasks.learning.mlflow_runs import Tracker
from recsim_tasks.release.manifest import MANIFEST_FILE, Manifest
from recsim_tasks.release.registry.production import IN_PRODUCTION, Production, fault, judge_alias
from recsim_tasks.release.registry.references import ReleaseRef, is_release, reference_of
from recsim_tasks.release.registry.stages import CHAMPION, NAME, Stages, unless

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

# The run whose metrics are curves over releases: recall of the index, precision, time of a query.
CURVE = "releases"
# Where in a release's run its verdict lies, with `.html` and `.json`.
VERDICT = "verdict/verdict"
NO_RELEASE = (
    "No release is in Production yet. Run a refresh first: deliver a feed, or trigger the DAG recsim_refresh."
)
# Nothing pickled, nothing sent home, nothing printed to stdout, no lock file of whatever folder a job was started in.
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
        """Connect; `UnavailableError` within seconds when the server does not answer."""
        os.environ.update(MLFLOW_VARIABLES)
        self.settings = settings
        self.tracker = Tracker(settings)
        self.client = self.tracker.client
        self.stages = Stages(self.client)
        _tell_mlflow_where(settings.tracking_uri)

    def production(self) -> Production:
        """The release in Production, and what is wrong with how the registry names it; no release before the first promotion."""
        with self.translated_errors():
            named = self.stages.aliases().get(CHAMPION)
            kept = self._tags([] if named is None else [named])
            if named is not None and named in kept and fault(kept[named]) is None:
                return Production(self.reference(named))
            points = [version for _, version in self.curve(IN_PRODUCTION)]
            found = judge_alias(named, points, kept | self._tags(points))
            return Production(
                None if found.version is None else self.reference(found.version), found.problem, found.deleted
            )

    def champion(self) -> ReleaseRef | None:
        """The release in Production; None before the first promotion."""
        return self.production().release

    def reference(self, version: int) -> ReleaseRef:
        """What the registry knows of `version`; `MissingError` when there is none."""
        with self.translated_errors():
            found = self.version(version)
        if not is_release(found):
            raise InputError(
                f"Version {version} of the model {NAME} was not registered by recsim: it is no release. Name another one."
            )
        return reference_of(found)

    def _tags(self, versions: Iterable[int]) -> dict[int, dict[str, str]]:
        """The tags of those of `versions` that the registry keeps."""
        found = {number: self._version(number) for number in set(versions)}
        return {number: dict(version.tags) for number, version in found.items() if version is not None}

    def references(self) -> list[ReleaseRef]:
        """What the registry knows of all releases that it keeps, oldest first."""
        with self.translated_errors():
            return [reference_of(version) for version in self.stages.versions() if is_release(version)]

    def download(self, version: int, into: Path) -> Path:
        """Fetch the bundle of `version` as the folder `into`. `local_copy` and `Release.open` check it, this does not."""
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
        """The bundle of `version` as MLflow keeps it: in its place when that is a folder of this machine, else fetched for the while."""
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
        """Where the bundle of `version` is among MLflow's artifacts."""
        found = self.version(version)
        return f"{self.client.get_model_version_download_uri(NAME, str(version))}/{found.tags['bundle']}"

    def _fetched(self, place: str, into: str) -> Path:
        """A file or folder of the artifacts, copied. MLflow names a full disk, a lost connection and a missing file in its text alone."""
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            return Path(
                download_artifacts(artifact_uri=place, dst_path=into, tracking_uri=self.settings.tracking_uri)
            )
        except (MlflowException, OSError) as error:
            uri = redacted(self.settings.tracking_uri)
            if not self._is_there(
                place
            ):  # first, since MLflow's server answers 500 for a file that was removed
                raise MissingError(f"MLflow at {uri} has no {place}: it was removed.") from error
            if known := diagnose(error, f"{into}, or MLflow at {uri}"):
                raise known from error
            raise RecsimError(
                f"MLflow at {uri} does not give {place}: {' '.join(redacted(str(error)).split())[:500]}"
            ) from error

    def _is_there(self, place: str) -> bool:
        """Whether MLflow lists a file or folder of the artifacts; each kind of store tells in another way that one is missing."""
        from mlflow.artifacts import list_artifacts

        folder, _, name = place.rpartition("/")
        found = list_artifacts(artifact_uri=folder, tracking_uri=self.settings.tracking_uri)
        return any(file.path.rpartition("/")[2] == name for file in found)

    def page(self, version: int) -> str:
        """Where MLflow's UI shows the verdict of `version`, after its `/#/`."""
        with self.translated_errors():
            return f"experiments/{self.tracker.experiment_id}/runs/{self.version(version).run_id}/artifacts/{VERDICT}.html"

    def model_fingerprints(self) -> set[str]:
        """The models of all releases that the registry keeps, in whichever stage."""
        with self.translated_errors():
            return {
                version.tags["model_fingerprint"] for version in self.stages.versions() if is_release(version)
            }

    def curve(self, name: str) -> list[tuple[float, int]]:
        """The points of a curve over releases, in order: when, in unix seconds, and the whole number."""
        with self.translated_errors():
            return self.tracker.points(CURVE, name)

    def follow(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to curves over releases; once a step."""
        self.tracker.log_point(CURVE, values, step)

    def version(self, version: int) -> ModelVersion:
        """What the registry says of `version`; `MissingError` when there is none."""
        found = self._version(version)
        if found is None:
            raise MissingError(
                f"There is no release {version} in the registry. Look at the versions of the model {NAME} in MLflow."
            )
        return found

    def _version(self, version: int) -> ModelVersion | None:
        return unless("RESOURCE_DOES_NOT_EXIST", lambda: self.client.get_model_version(NAME, str(version)))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the registry against others that would change it."""
        with lease(self.settings.home, f"registry {self.settings.tracking_uri}"), self.translated_errors():
            yield

    def translated_errors(self) -> AbstractContextManager[None]:
        """Talk to MLflow: its errors come out as ours."""
        return translated_errors(self.settings.tracking_uri)


def _tell_mlflow_where(uri: str) -> None:
    """Its stores look a model's address up at the process's own default, which else is a new database in the working directory."""
    import mlflow

    mlflow.set_tracking_uri(uri)
