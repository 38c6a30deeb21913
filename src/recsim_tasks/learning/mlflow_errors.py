"""Translates MLflow's errors: the server or database is unavailable, refuses, or lacks the object."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.foundation.errors import ConfigurationError, MissingError, RecsimError, UnavailableError
from recsim_tasks.foundation.outages import diagnose
from recsim_tasks.foundation.redaction import first_line, redacted

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException

SQLITE = "sqlite:///"


def client_errors() -> tuple[type[Exception], ...]:
    """What MLflow's client raises when a server or a database does not do what it is asked to."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, RequestException, SQLAlchemyError


@contextmanager
def translated_errors(uri: str) -> Iterator[None]:
    """Raise what MLflow's client for `uri` raises as the `RecsimError` that it means."""
    from mlflow.exceptions import MlflowException

    uri = redacted(uri)
    try:
        yield
    except MlflowException as error:
        raise _translated(error, uri) from error
    except client_errors() as error:
        raise _unavailable(error, uri) from error
    except ModuleNotFoundError as error:
        if not _is_raised_within(error, ("mlflow", "sqlalchemy")):
            raise
        raise ConfigurationError(
            f"{_describe(uri)} needs the Python package {error.name}, which is not installed. "
            "Install it, or correct MLFLOW_TRACKING_URI."
        ) from error


def _is_raised_within(error: Exception, packages: tuple[str, ...]) -> bool:
    """Whether a frame of the error's traceback runs code of one of `packages`."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").partition(".")[0] in packages for frame, _ in frames)


def _translated(error: MlflowException, uri: str) -> RecsimError:
    """The HTTP status separates an outage from a refusal."""
    status, text = _status(error), first_line(error)
    if is_unavailable(error):
        return _unavailable(error, uri)
    if status == 404:
        return MissingError(
            f"MLflow at {uri} answers 404: {text}. "
            "Correct MLFLOW_TRACKING_URI, or check there what was deleted."
        )
    if known := None if uri.startswith("http") else diagnose(error, _describe(uri)):
        return known  # of a database: MLflow gives most of its errors the status 400
    return ConfigurationError(
        f"MLflow at {uri} refuses (status {status}): {text}. "
        "Correct MLFLOW_TRACKING_URI or its credentials, and see the log of that server."
    )


def _unavailable(error: Exception, uri: str) -> RecsimError:
    """The error for a server or a database that gave no answer."""
    for cause in filter(None, (_database_fault(uri), error)):
        if known := diagnose(cause, _describe(uri)):
            return known
    if uri.startswith(SQLITE):
        return RecsimError(
            f"The database of MLflow at {uri} cannot be used: {first_line(error)}. "
            "Restore it, or correct MLFLOW_TRACKING_URI."
        )
    kind = RecsimError if _raised_by_client(error) else UnavailableError
    return kind(
        f"{_describe(uri)} fails: {first_line(error)}. "
        "See the log of that server; when it is up, run this job again."
    )


def _raised_by_client(error: Exception) -> bool:
    """Whether MLflow's client gave up before it sent a request: it then uses the default status."""
    return (
        getattr(error, "error_code", "") == "INTERNAL_ERROR"
        and type(error).__name__ == "MlflowException"
        and "API request" not in str(error)
    )


def _database_fault(uri: str) -> OSError | None:
    """Why the file of a SQLite database cannot be opened, which SQLite does not say; None when it can."""
    if not uri.startswith(SQLITE):
        return None
    try:
        with database_file(uri).open("r+b"):
            return None
    except OSError as error:
        return error


def database_file(uri: str) -> Path:
    """The file of a SQLite database."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0])


def _describe(uri: str) -> str:
    return f"MLflow at {uri} (MLFLOW_TRACKING_URI)"


def is_unavailable(error: MlflowException) -> bool:
    """Whether the server gave no answer, or none for now."""
    return _status(error) >= 500 or _status(error) in (408, 429)


def _status(error: MlflowException) -> int:
    return int(error.get_http_status_code())  # type: ignore[no-untyped-call]
