"""The registry of releases: MLflow's registered model `recsim`, its stages and its aliases. No other module touches these.

MLflow cannot change stage and alias in one call. The alias `champion` is the truth: it is written last, serving follows it alone, and
`reconcile` brings the stages after it. MLflow calls stages deprecated; they are kept for the people and tools that look at them.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.foundation.errors import InputError, RecsimError, UnavailableError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.progress import say
from recsim_tasks.foundation.publishing import publishing
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.tracking import Tracker
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.manifest import MANIFEST_FILE, Manifest
from recsim_tasks.release.packing import bundle_place, pack

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

T = TypeVar("T")
NAME = "recsim"
DESCRIPTION = "Releases of recsim: each is a model and the index made by it."
CHAMPION, PREVIOUS = "champion", "previous"
STAGING, PRODUCTION, ARCHIVED = "Staging", "Production", "Archived"
# The run whose metrics are curves over releases: recall of the index, precision, time of a query.
CURVE = "releases"
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


@dataclass(frozen=True)
class ReleaseRef:
    """What the registry knows of a release without downloading it."""

    version: int
    cursor: Cursor
    model_fingerprint: str
    size: int
    metrics: dict[str, float]
    source: str


class Registry:
    """The releases on the MLflow server of the settings."""

    def __init__(self, settings: Settings) -> None:
        """Connect; `UnavailableError` within seconds when the server does not answer."""
        os.environ.update(MLFLOW_VARIABLES)
        self._settings = settings
        self._tracker = Tracker(settings)
        self._client = self._tracker.client
        _tell_mlflow_where(settings.tracking_uri)

    def champion(self) -> ReleaseRef | None:
        """The release in Production; None before the first promotion."""
        with self._speaking():
            version = self._aliases().get(CHAMPION)
            return None if version is None else _reference(self._version(version))

    def register(self, bundle: Path, refresh_id: str, manifest: Manifest, reasons: Sequence[str] = ()) -> int:
        """Register a bundle that passed the gate as a version in Staging, once a refresh; `reasons` are the gate's.

        Raises `InputError` when the bundle is not what its manifest says.
        """
        with self._alone():
            version = self._version_of(refresh_id, manifest)
            if version is None:
                Release.open(bundle)
                version = self._create(bundle, refresh_id, manifest, reasons)
            if version.current_stage == "None":
                self._set_stage(int(version.version), STAGING)
            self._tracker.follow(CURVE, manifest.metrics, int(version.version))
            return int(version.version)

    def promote(self, version: int) -> dict[str, Any]:
        """Make `version` the release in Production, model and index together; nothing changes when it is already."""
        with self._alone():
            return self._promote(version)

    def rollback(self, to: int | None, reason: str) -> dict[str, Any]:
        """Put `to`, or the release before the champion, back into Production; `reason` is kept with the one that leaves."""
        with self._alone():
            champion = self._aliases().get(CHAMPION)
            if champion is None:
                raise InputError(f"There is nothing to roll back. {NO_RELEASE}")
            target = self._before(champion) if to is None else to
            self._version(target)
            self._client.set_model_version_tag(NAME, str(champion), "rolled_back", reason or "no reason given")
            return {**self._promote(target), "reason": reason}

    def download(self, version: int | None, into: Path) -> Path:
        """Fetch the bundle of `version`, or of the champion, as the folder `into`. `Release.open` checks it, this does not."""
        from mlflow.artifacts import download_artifacts

        with self._speaking():
            number = version if version is not None else self._aliases().get(CHAMPION)
            if number is None:
                raise UnavailableError(NO_RELEASE)
            found = self._version(number)
            packed = self._client.get_model_version_download_uri(NAME, str(number))
            with publishing(into) as staged, tempfile.TemporaryDirectory(dir=into.parent, prefix=".download-") as scratch:
                place = f"{packed}/{found.tags['bundle']}"
                folder = download_artifacts(artifact_uri=place, dst_path=scratch, tracking_uri=self._settings.tracking_uri)
                for child in Path(folder).iterdir():
                    child.rename(staged / child.name)
        return into

    def manifest(self, version: int) -> Manifest:
        """The manifest of `version`, without the rest of its bundle."""
        from mlflow.artifacts import download_artifacts

        with self._speaking(), tempfile.TemporaryDirectory() as scratch:
            found = self._version(version)
            packed = self._client.get_model_version_download_uri(NAME, str(version))
            place = f"{packed}/{found.tags['bundle']}/{MANIFEST_FILE}"
            file = download_artifacts(artifact_uri=place, dst_path=scratch, tracking_uri=self._settings.tracking_uri)
            return Manifest.read(Path(file).parent)

    def model_fingerprints(self) -> set[str]:
        """The models of all releases that the registry keeps, in whichever stage."""
        with self._speaking():
            return {version.tags["model_fingerprint"] for version in self._client.search_model_versions(f"name='{NAME}'")}

    def reconcile(self) -> None:
        """Bring the stages after the alias, from where a promotion that was killed half-way left them."""
        with self._alone():
            pass  # which every change begins with

    def _reconcile(self) -> None:
        champion = self._aliases().get(CHAMPION)
        for version in self._client.search_model_versions(f"name='{NAME}'"):
            number, stage = int(version.version), version.current_stage
            if number == champion and stage != PRODUCTION:
                self._set_stage(number, PRODUCTION)
            elif number != champion and stage == PRODUCTION:
                # A newer one was about to come, an older one about to leave.
                self._set_stage(number, STAGING if number > (champion or 0) else ARCHIVED)

    def _promote(self, version: int) -> dict[str, Any]:
        self._version(version)
        aliases = self._aliases()
        champion, previous = aliases.get(CHAMPION), aliases.get(PREVIOUS)
        if champion == version:
            return {"version": version, "previous": previous if previous != version else None, "stage": PRODUCTION}
        if champion is not None:
            self._client.set_registered_model_alias(NAME, PREVIOUS, str(champion))
        self._set_stage(version, PRODUCTION, archive_others=True)
        self._client.set_registered_model_alias(NAME, CHAMPION, str(version))
        say(f"Release {version} is in Production, {f'before it {champion}' if champion else 'the first'}.")
        return {"version": version, "previous": champion, "stage": PRODUCTION}

    def _before(self, champion: int) -> int:
        """The alias `previous`; the newest archived release where a promotion was killed just after it wrote that alias."""
        previous = self._aliases().get(PREVIOUS)
        if previous is not None and previous != champion:
            return previous
        every = self._client.search_model_versions(f"name='{NAME}'")
        archived = [int(v.version) for v in every if v.current_stage == ARCHIVED and int(v.version) < champion]
        if not archived:
            raise InputError(f"Release {champion} has none before it to go back to. Name one: `recsim rollback --to V`.")
        return max(archived)

    def _create(self, bundle: Path, refresh_id: str, manifest: Manifest, reasons: Sequence[str]) -> ModelVersion:
        from mlflow.entities import LoggedModelOutput, Metric, RunTag
        from mlflow.models.model import Model

        tags = _tags(refresh_id, manifest, reasons)
        metrics = [Metric(name, value, 0, 0) for name, value in manifest.metrics.items()]
        with self._tracker.run(f"release {refresh_id}", manifest.cursor, {}) as run_id:
            self._client.log_batch(run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
            logged = self._client.create_logged_model(self._tracker.experiment_id, "release", source_run_id=run_id, tags=tags)
            model = Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id, model_uuid=logged.model_id)
            with tempfile.TemporaryDirectory() as scratch:
                pack(bundle, manifest, model, Path(scratch) / "model")
                self._client.log_model_artifacts(logged.model_id, str(Path(scratch) / "model"))
            self._client.finalize_logged_model(logged.model_id, "READY")
            self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
            tags["bundle"] = bundle_place(model)
            return self._client.create_model_version(NAME, f"models:/{logged.model_id}", run_id, tags, model_id=logged.model_id)

    def _version(self, version: int) -> ModelVersion:
        found = _unless("RESOURCE_DOES_NOT_EXIST", lambda: self._client.get_model_version(NAME, str(version)))
        if found is None:
            raise InputError(f"There is no release {version} in the registry. Look at the versions of the model {NAME} in MLflow.")
        return found

    def _version_of(self, refresh_id: str, manifest: Manifest) -> ModelVersion | None:
        """The version that a refresh made of this very content; one that was planned anew after a clear makes another."""
        _unless("RESOURCE_ALREADY_EXISTS", lambda: self._client.create_registered_model(NAME, description=DESCRIPTION))
        quote = '"' if "'" in refresh_id else "'"
        found = self._client.search_model_versions(f"name='{NAME}' and tags.refresh_id={quote}{refresh_id}{quote}")
        same = [version for version in found if version.tags["index_fingerprint"] == manifest.index_fingerprint]
        return min(same, key=lambda version: int(version.version), default=None)

    def _aliases(self) -> dict[str, int]:
        model = _unless("RESOURCE_DOES_NOT_EXIST", lambda: self._client.get_registered_model(NAME))
        return {name: int(version) for name, version in model.aliases.items()} if model else {}

    def _set_stage(self, version: int, stage: str, archive_others: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self._client.transition_model_version_stage(NAME, str(version), stage, archive_existing_versions=archive_others)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the registry against other promotions, with stages as the alias says."""
        with lease(self._settings.home, f"registry {self._settings.tracking_uri}"), self._speaking():
            self._reconcile()
            yield

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Translate MLflow's errors."""
        from mlflow.exceptions import MlflowException, RestException

        uri = self._settings.tracking_uri
        try:
            yield
        except RestException as error:
            raise RecsimError(f"MLflow at {uri} refuses: {_first_line(error)}. See the log of that server.") from error
        except MlflowException as error:
            raise UnavailableError(
                f"MLflow at {uri} fails: {_first_line(error)}. Start the server or correct MLFLOW_TRACKING_URI."
            ) from error


def _unless(code: str, call: Callable[[], T]) -> T | None:
    """What `call` gives; None when MLflow answers with the error `code`."""
    from mlflow.exceptions import MlflowException

    try:
        return call()
    except MlflowException as error:
        if error.error_code != code:
            raise
        return None


def _tell_mlflow_where(uri: str) -> None:
    """Its stores look a model's address up at the process's own default, which else is a new database in the working directory."""
    import mlflow

    mlflow.set_tracking_uri(uri)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300].rstrip(".")


def _tags(refresh_id: str, manifest: Manifest, reasons: Sequence[str]) -> dict[str, str]:
    return {
        "refresh_id": refresh_id,
        "catalogue.table_id": manifest.cursor.table_id,
        "catalogue.version": str(manifest.cursor.version),
        "model_fingerprint": manifest.model_fingerprint,
        "index_fingerprint": manifest.index_fingerprint,
        "products": str(manifest.counts["products"]),
        "metrics": json.dumps(manifest.metrics),
        "gate.verdict": "pass",
        "gate.reasons": " ".join(reasons),
        **({"training_run": manifest.mlflow_run_id} if manifest.mlflow_run_id else {}),
    }


def _reference(version: ModelVersion) -> ReleaseRef:
    tags = version.tags
    return ReleaseRef(
        version=int(version.version),
        cursor=Cursor(tags["catalogue.table_id"], int(tags["catalogue.version"])),
        model_fingerprint=tags["model_fingerprint"],
        size=int(tags["products"]),
        metrics=json.loads(tags["metrics"]),
        source=str(version.source),
    )
