"""The registry of releases: MLflow's registered model `recsim`, a version a release. What is in Production is `promotion`'s."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.foundation.errors import InputError, RecsimError, UnavailableError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.publishing import publishing
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.tracking import Tracker
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.manifest import MANIFEST_FILE, Manifest
from recsim_tasks.release.packing import bundle_place, pack
from recsim_tasks.release.sharing import local_folder, put_in, same_files, take_out
from recsim_tasks.release.stages import CHAMPION, NAME, Stages, unless

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models.model import Model

DESCRIPTION = "Releases of recsim: each is a model and the index made by it."
# The run whose metrics are curves over releases: recall of the index, precision, time of a query.
CURVE = "releases"
# Where in a release's run its verdict lies, with `.html` and `.json`.
VERDICT = "verdict/verdict"
# MLflow refuses 5,000 characters and more.
LONGEST_TAG = 4_900
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
    feeds: tuple[str, ...]
    """What it took in that the champion had not, as far as there was room to note it."""


@dataclass(frozen=True)
class Origin:
    """Where a release comes from, beside what its manifest says."""

    refresh_id: str
    """Of the refresh, which is the id of its DAG run."""
    champion: int | None
    """The release that it was judged against."""
    feeds: tuple[str, ...] = ()
    """What it took in that the champion had not."""


class Registry:
    """The releases on the MLflow server of the settings."""

    def __init__(self, settings: Settings) -> None:
        """Connect; `UnavailableError` within seconds when the server does not answer."""
        os.environ.update(MLFLOW_VARIABLES)
        self._settings = settings
        self._tracker = Tracker(settings)
        self.client = self._tracker.client
        self.stages = Stages(self.client)
        _tell_mlflow_where(settings.tracking_uri)

    def champion(self) -> ReleaseRef | None:
        """The release in Production; None before the first promotion."""
        with self._speaking():
            version = self.stages.aliases().get(CHAMPION)
            return None if version is None else _reference(self.version(version))

    def references(self) -> list[ReleaseRef]:
        """What the registry knows of all releases that it keeps, oldest first."""
        with self._speaking():
            return [_reference(version) for version in self.stages.versions()]

    def register(self, bundle: Path, manifest: Manifest, origin: Origin, verdict: Mapping[str, Any], page: str) -> int:
        """Register a bundle as a version in Staging, once a refresh, with the gate's `verdict` and the `page` that shows it.

        Raises `InputError` when the bundle is not what its manifest says.
        """
        # An upload may take minutes, for which nobody shall wait who wants to roll back.
        with lease(self._settings.home, f"registration of {origin.refresh_id} at {self._settings.tracking_uri}"), self._speaking():
            version = self._version_of(origin.refresh_id, manifest) or self._create(bundle, manifest, origin)
        number = int(version.version)
        with self.alone():
            self._keep_verdict(version, origin, verdict, page)
            if version.current_stage == "None":
                self.stages.stage(number)
            self.follow(manifest.metrics, number)
        return number

    def download(self, version: int | None, into: Path) -> Path:
        """Fetch the bundle of `version`, or of the champion, as the folder `into`. `Release.open` checks it, this does not."""
        with self._speaking():
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
        with self._speaking(), tempfile.TemporaryDirectory() as scratch:
            found = self.version(version)
            packed = self.client.get_model_version_download_uri(NAME, str(version))
            return Manifest.read(self._fetched(f"{packed}/{found.tags['bundle']}/{MANIFEST_FILE}", scratch).parent)

    def _fetched(self, place: str, into: str) -> Path:
        """A file or folder of the artifacts, copied; a full disk and a lost connection read alike to MLflow, which names both in its text."""
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            return Path(download_artifacts(artifact_uri=place, dst_path=into, tracking_uri=self._settings.tracking_uri))
        except MlflowException as error:
            text = " ".join(str(error).split())[:500]
            raise RecsimError(f"MLflow at {self._settings.tracking_uri} does not give {place}: {text}") from error

    def page(self, version: int) -> str:
        """Where MLflow's UI shows the verdict of `version`, after its `/#/`."""
        return f"experiments/{self._tracker.experiment_id}/runs/{self.version(version).run_id}/artifacts/{VERDICT}.html"

    def model_fingerprints(self) -> set[str]:
        """The models of all releases that the registry keeps, in whichever stage."""
        with self._speaking():
            return {version.tags["model_fingerprint"] for version in self.client.search_model_versions(f"name='{NAME}'")}

    def curve(self, name: str) -> list[tuple[float, int]]:
        """The points of a curve over releases, in order: when, in unix seconds, and the whole number."""
        with self._speaking():
            return self._tracker.points(CURVE, name)

    def follow(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to curves over releases; once a step."""
        self._tracker.follow(CURVE, values, step)

    def _keep_verdict(self, version: ModelVersion, origin: Origin, verdict: Mapping[str, Any], page: str) -> None:
        """A refresh that is judged again has the last verdict."""
        run_id = str(version.run_id)
        self.client.log_text(run_id, page, f"{VERDICT}.html")
        self.client.log_dict(run_id, dict(verdict), f"{VERDICT}.json")
        told = {"gate.champion": str(origin.champion or ""), "gate.reasons": " ".join(verdict["reasons"])[:LONGEST_TAG]}
        for name, value in {**told, "gate.verdict": str(verdict["verdict"])}.items():
            self.client.set_model_version_tag(NAME, version.version, name, value)
            self.client.set_tag(run_id, name, value)

    def _create(self, bundle: Path, manifest: Manifest, origin: Origin) -> ModelVersion:
        from mlflow.entities import LoggedModelOutput, Metric, RunTag
        from mlflow.models.model import Model

        Release.open(bundle)
        tags = _tags(manifest, origin)
        metrics = [Metric(name, value, 0, 0) for name, value in manifest.metrics.items()]
        with self._tracker.run(f"release {origin.refresh_id}", manifest.cursor, {}) as run_id:
            self.client.log_batch(run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
            logged = self.client.create_logged_model(self._tracker.experiment_id, "release", source_run_id=run_id, tags=tags)
            model = Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id, model_uuid=logged.model_id)
            with tempfile.TemporaryDirectory() as scratch:
                pack(bundle, manifest, model, Path(scratch) / "model")
                self._upload(Path(scratch) / "model", model, manifest, origin.champion)
            self.client.finalize_logged_model(logged.model_id, "READY")
            self.client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
            tags["bundle"] = bundle_place(model)
            return self.client.create_model_version(NAME, f"models:/{logged.model_id}", run_id, tags, model_id=logged.model_id)

    def _upload(self, packed: Path, model: Model, manifest: Manifest, champion: int | None) -> None:
        """Store a packed model, but for what the champion has stored already."""
        place, stored = bundle_place(model), local_folder(str(model.artifact_path))
        same: dict[str, Path] = {}
        if stored and champion:
            before = local_folder(self.client.get_model_version_download_uri(NAME, str(champion)))
            same = same_files(manifest, before / self.version(champion).tags["bundle"]) if before else {}
        take_out(same, packed / place)
        self.client.log_model_artifacts(str(model.model_id), str(packed))
        if stored:
            put_in(same, stored / place)

    def version(self, version: int) -> ModelVersion:
        """What the registry says of `version`; `InputError` when there is none."""
        found = unless("RESOURCE_DOES_NOT_EXIST", lambda: self.client.get_model_version(NAME, str(version)))
        if found is None:
            raise InputError(f"There is no release {version} in the registry. Look at the versions of the model {NAME} in MLflow.")
        return found

    def _version_of(self, refresh_id: str, manifest: Manifest) -> ModelVersion | None:
        """The version that a refresh made of this very content; one that was planned anew after a clear makes another."""
        unless("RESOURCE_ALREADY_EXISTS", lambda: self.client.create_registered_model(NAME, description=DESCRIPTION))
        quote = '"' if "'" in refresh_id else "'"
        found = self.client.search_model_versions(f"name='{NAME}' and tags.refresh_id={quote}{refresh_id}{quote}")
        same = [version for version in found if version.tags["index_fingerprint"] == manifest.index_fingerprint]
        return min(same, key=lambda version: int(version.version), default=None)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the registry against others that would change it."""
        with lease(self._settings.home, f"registry {self._settings.tracking_uri}"), self._speaking():
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


def _tell_mlflow_where(uri: str) -> None:
    """Its stores look a model's address up at the process's own default, which else is a new database in the working directory."""
    import mlflow

    mlflow.set_tracking_uri(uri)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300].rstrip(".")


def _tags(manifest: Manifest, origin: Origin) -> dict[str, str]:
    return {
        "refresh_id": origin.refresh_id,
        "feeds": "\n".join(origin.feeds)[:LONGEST_TAG],
        "code": metadata.version("recsim"),
        "catalogue.table_id": manifest.cursor.table_id,
        "catalogue.version": str(manifest.cursor.version),
        "model_fingerprint": manifest.model_fingerprint,
        "index_fingerprint": manifest.index_fingerprint,
        "products": str(manifest.counts["products"]),
        "metrics": json.dumps(manifest.metrics),
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
        feeds=tuple(tags["feeds"].split("\n")),
    )
