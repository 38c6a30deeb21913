"""The registry of releases: MLflow's registered model `recsim`, a version a release. What is in Production is `promotion`'s."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.foundation.errors import InputError, RecsimError, UnavailableError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.publishing import publishing
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.tracking import Tracker
from recsim_tasks.release.manifest import MANIFEST_FILE, Manifest
from recsim_tasks.release.references import ReleaseRef, reference_of
from recsim_tasks.release.stages import CHAMPION, NAME, Stages, unless

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

# The run whose metrics are curves over releases: recall of the index, precision, time of a query.
CURVE = "releases"
# Where in a release's run its verdict lies, with `.html` and `.json`.
VERDICT = "verdict/verdict"
NO_RELEASE = "No release is in Production yet. Run a refresh first: deliver a feed, or trigger the DAG recsim_refresh."
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

    def champion(self) -> ReleaseRef | None:
        """The release in Production; None before the first promotion."""
        with self.speaking():
            version = self.stages.aliases().get(CHAMPION)
            return None if version is None else reference_of(self.version(version))

    def references(self) -> list[ReleaseRef]:
        """What the registry knows of all releases that it keeps, oldest first."""
        with self.speaking():
            return [reference_of(version) for version in self.stages.versions()]

    def download(self, version: int | None, into: Path) -> Path:
        """Fetch the bundle of `version`, or of the champion, as the folder `into`. `Release.open` checks it, this does not."""
        with self.speaking():
            number = version if version is not None else self.stages.aliases().get(CHAMPION)
            if number is None:
                raise UnavailableError(NO_RELEASE)
            found = self.version(number)
            packed = self.client.get_model_version_download_uri(NAME, str(number))
            with publishing(into) as staged, tempfile.TemporaryDirectory(dir=into.parent, prefix=".download-") as scratch:
                place = f"{packed}/{found.tags['bundle']}"
                for child in self._fetched(place, scratch).iterdir():
                    child.rename(staged / child.name)
        return into

    def manifest(self, version: int) -> Manifest:
        """The manifest of `version`, without the rest of its bundle."""
        with self.speaking(), tempfile.TemporaryDirectory() as scratch:
            found = self.version(version)
            packed = self.client.get_model_version_download_uri(NAME, str(version))
            return Manifest.read(self._fetched(f"{packed}/{found.tags['bundle']}/{MANIFEST_FILE}", scratch).parent)

    def _fetched(self, place: str, into: str) -> Path:
        """A file or folder of the artifacts, copied; a full disk and a lost connection read alike to MLflow, which names both in its text."""
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            return Path(download_artifacts(artifact_uri=place, dst_path=into, tracking_uri=self.settings.tracking_uri))
        except MlflowException as error:
            text = " ".join(str(error).split())[:500]
            raise RecsimError(f"MLflow at {self.settings.tracking_uri} does not give {place}: {text}") from error

    def page(self, version: int) -> str:
        """Where MLflow's UI shows the verdict of `version`, after its `/#/`."""
        return f"experiments/{self.tracker.experiment_id}/runs/{self.version(version).run_id}/artifacts/{VERDICT}.html"

    def model_fingerprints(self) -> set[str]:
        """The models of all releases that the registry keeps, in whichever stage."""
        with self.speaking():
            return {version.tags["model_fingerprint"] for version in self.client.search_model_versions(f"name='{NAME}'")}

    def curve(self, name: str) -> list[tuple[float, int]]:
        """The points of a curve over releases, in order: when, in unix seconds, and the whole number."""
        with self.speaking():
            return self.tracker.points(CURVE, name)

    def follow(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to curves over releases; once a step."""
        self.tracker.follow(CURVE, values, step)

    def version(self, version: int) -> ModelVersion:
        """What the registry says of `version`; `InputError` when there is none."""
        found = unless("RESOURCE_DOES_NOT_EXIST", lambda: self.client.get_model_version(NAME, str(version)))
        if found is None:
            raise InputError(f"There is no release {version} in the registry. Look at the versions of the model {NAME} in MLflow.")
        return found

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the registry against others that would change it."""
        with lease(self.settings.home, f"registry {self.settings.tracking_uri}"), self.speaking():
            yield

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Talk to MLflow: its errors come out as ours."""
        from mlflow.exceptions import MlflowException, RestException

        uri = self.settings.tracking_uri
        try:
            yield
        except RestException as error:
            raise RecsimError(f"MLflow at {uri} refuses: {_first_line(error)}. See the log of that server.") from error
        except MlflowException as error:
            raise UnavailableError(
                f"MLflow at {uri} fails: {_first_line(error)}. Start the server or correct MLFLOW_TRACKING_URI."
            ) from error


def _tell_mlflow_where(uri: str) -> None:
    """Its stores look a model's address up at the process's own default, which else is a new database in the working directory."""
    import mlflow

    mlflow.set_tracking_uri(uri)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300].rstrip(".")
