"""The registry of releases: MLflow's registered model `recsim`, a version a release. What is in Production is `promotion`'s."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.foundation.errors import MissingError, RecsimError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.outages import diagnose
from recsim_tasks.foundation.publishing import publishing
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.mlflow_errors import speaking
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
# How MLflow says that an artifact does not exist, on a disk, behind a server, in an object store.
GONE = re.compile(r"no such (file|artifact)|404 client error|does not exist|not ?found", re.IGNORECASE)
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
                raise MissingError(NO_RELEASE)
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
        """A file or folder of the artifacts, copied. MLflow names a full disk, a lost connection and a missing file in its text alone."""
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            return Path(download_artifacts(artifact_uri=place, dst_path=into, tracking_uri=self.settings.tracking_uri))
        except (MlflowException, OSError) as error:
            uri, text = self.settings.tracking_uri, " ".join(str(error).split())[:500]
            if known := diagnose(error, f"{into}, or MLflow at {uri}"):
                raise known from error
            kind = MissingError if GONE.search(text) else RecsimError
            raise kind(f"MLflow at {uri} does not give {place}: {text}") from error

    def page(self, version: int) -> str:
        """Where MLflow's UI shows the verdict of `version`, after its `/#/`."""
        with self.speaking():
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
        """What the registry says of `version`; `MissingError` when there is none."""
        found = unless("RESOURCE_DOES_NOT_EXIST", lambda: self.client.get_model_version(NAME, str(version)))
        if found is None:
            raise MissingError(f"There is no release {version} in the registry. Look at the versions of the model {NAME} in MLflow.")
        return found

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the registry against others that would change it."""
        with lease(self.settings.home, f"registry {self.settings.tracking_uri}"), self.speaking():
            yield

    def speaking(self) -> AbstractContextManager[None]:
        """Talk to MLflow: its errors come out as ours."""
        return speaking(self.settings.tracking_uri)


def _tell_mlflow_where(uri: str) -> None:
    """Its stores look a model's address up at the process's own default, which else is a new database in the working directory."""
    import mlflow

    mlflow.set_tracking_uri(uri)
