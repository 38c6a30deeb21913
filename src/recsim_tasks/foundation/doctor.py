"""Check a machine and its settings: what is missing or does not answer, and what to do about it.

The checks are quick: they import nothing heavy, and write nothing but RECSIM_HOME, if it is missing, and a
probe file. With RECSIM_GPUS they start a process that asks TensorFlow for its GPUs, which takes 5 s.
"""

from __future__ import annotations

import http.client
import tempfile
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path

from recsim_tasks.contracts import CheckFinding, DoctorResult
from recsim_tasks.foundation import prerequisites
from recsim_tasks.foundation.errors import ConfigurationError, UnavailableError
from recsim_tasks.foundation.gpus import REMEDY, ask_tensorflow, shortage
from recsim_tasks.foundation.outages import diagnose
from recsim_tasks.foundation.prerequisites import Finding
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.settings import Settings

INSTALL = "Run: make setup"
MLFLOW_TIMEOUT_SECONDS = 3.0


def examine(settings: Settings) -> DoctorResult:
    """Return all findings.

    Raises `ConfigurationError` with every fault, or `UnavailableError` if all of them are outages.
    """
    results = findings(settings)
    faults = [finding for finding in results if not finding.ok]
    if faults:
        listed = " · ".join(f"{fault.name}: {fault.detail}. {fault.remedy}" for fault in faults)
        raise (UnavailableError if all(fault.away for fault in faults) else ConfigurationError)(
            f"Found {len(faults)} problem{'s' if len(faults) > 1 else ''}: {listed}"
        )
    return DoctorResult(ok=True, findings=[CheckFinding(**finding._asdict()) for finding in results])


def findings(settings: Settings) -> list[Finding]:
    """Check everything that a job needs, whether or not the check before failed."""
    return [
        *prerequisites.examine(),
        _home(settings.home),
        _package("tensorflow-cpu", "tensorflow"),
        *(_package(name) for name in ("horovod", "pyspark", "delta-spark")),
        *([_gpus(settings)] if settings.gpus else []),
        _delta_jars(),
        _mlflow(settings.tracking_uri),
    ]


def _home(home: Path) -> Finding:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            return Finding("RECSIM_HOME", True, f"{home.absolute()} can be written", "")
    except OSError as error:
        away = isinstance(diagnose(error, str(home)), UnavailableError)
        remedy = "Free space there, or set" if away else "Make that folder writable, or set"
        return Finding(
            "RECSIM_HOME",
            False,
            f"{home.absolute()} cannot be written ({error.strerror})",
            f"{remedy} RECSIM_HOME to another.",
            away,
        )


def _package(name: str, other: str | None = None) -> Finding:
    """Whether a distribution, or `other` in its place, is installed."""
    version = _version(name) or (_version(other) if other else None)
    return Finding(name, version is not None, version or "not installed", "" if version else INSTALL)


def _gpus(settings: Settings) -> Finding:
    if not settings.is_local:
        return Finding("GPUs", True, "not checked here: they belong to the executors", "")
    usable = ask_tensorflow()
    enough = usable.count >= settings.gpus
    return Finding(
        "GPUs",
        enough,
        f"TensorFlow sees {usable.count}" if enough else shortage(settings.gpus, usable),
        "" if enough else REMEDY,
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _delta_jars() -> Finding:
    version = _version("delta-spark")
    caches = [
        jar
        for jar in Path.home().glob(f".ivy2*/jars/io.delta_delta-spark_*-{version}.jar")
        if jar.stat().st_size
    ]
    if caches:
        return Finding("Delta's jars", True, str(caches[0].parent), "")
    poms = _poms_without_jar(Path.home() / ".m2" / "repository")
    if poms:
        detail = (
            f"not in the Ivy cache, and Ivy stops with 'download failed' at {len(poms)} poms of ~/.m2 "
            f"that have no jar, such as {poms[0]}"
        )
        return Finding(
            "Delta's jars", False, detail, "Move ~/.m2/repository out of the way and run: make setup"
        )
    return Finding("Delta's jars", False, "not in the Ivy cache (~/.ivy2*/jars)", INSTALL)


def _poms_without_jar(repository: Path) -> list[Path]:
    """Poms of `repository` whose jar is missing, relative to it."""
    return [
        pom.relative_to(repository)
        for pom in sorted(repository.rglob("*.pom"))
        if not pom.with_suffix(".jar").exists() and b"<packaging>pom</packaging>" not in pom.read_bytes()
    ]


def _mlflow(uri: str) -> Finding:
    if not uri.startswith(("http://", "https://")):
        return Finding("MLflow", True, f"embedded, {redacted(uri)}", "")
    try:
        health = f"{uri.rstrip('/')}/health"
        with urllib.request.urlopen(health, timeout=MLFLOW_TIMEOUT_SECONDS):  # noqa: S310 - http or https
            return Finding("MLflow", True, f"{uri} answers", "")
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        away = isinstance(error, OSError) and not (
            isinstance(error, urllib.error.HTTPError) and error.code < 500
        )
        return Finding(
            "MLflow",
            False,
            f"{uri} does not answer ({reason})",
            "Start that server, or correct MLFLOW_TRACKING_URI.",
            away,
        )
