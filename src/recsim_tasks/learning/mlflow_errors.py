"""What MLflow's errors mean: a server or a database that is away, one that refuses, a thing that does not exist."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.foundation.errors import ConfigurationError, MissingError, RecsimError, UnavailableError
from recsim_tasks.foundation.outages import diagnose
from recsim_tasks.foundation.redaction import redacted

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException

SQLITE = "sqlite:///"


@contextmanager
def speaking(uri: str) -> Iterator[None]:
    """Talk to MLflow at `uri`: what its client raises comes out as an error of ours, by what it means."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    uri = redacted(uri)
    try:
        yield
    except MlflowException as error:
        raise _meaning(error, uri) from error
    except (RequestException, SQLAlchemyError) as error:
        raise _unanswered(error, uri) from error
    except ModuleNotFoundError as error:
        needed = f"MLflow at {uri} (MLFLOW_TRACKING_URI) needs the Python package {error.name}, which is not installed."
        raise ConfigurationError(f"{needed} Install it, or correct MLFLOW_TRACKING_URI.") from error


def _meaning(error: MlflowException, uri: str) -> RecsimError:
    """The status tells what is away from what is wrong."""
    status, text = _status(error), _first_line(error)
    if is_away(error):
        return _unanswered(error, uri)
    if status == 404:
        return MissingError(
            f"MLflow at {uri} does not have it: {text}. Correct MLFLOW_TRACKING_URI, or look there for what was deleted."
        )
    if known := None if uri.startswith("http") else diagnose(error, _place(uri)):
        return known  # of a database: MLflow gives most of its errors the status 400
    return ConfigurationError(
        f"MLflow at {uri} refuses (status {status}): {text}. Correct MLFLOW_TRACKING_URI or its credentials, and see the log of that server."
    )


def _unanswered(error: Exception, uri: str) -> RecsimError:
    """The error of a server or a database that gave no answer."""
    for each in filter(None, (_why_closed(uri), error)):
        if known := diagnose(each, _place(uri)):
            return known
    if uri.startswith(SQLITE):
        return RecsimError(
            f"The database of MLflow at {uri} cannot be used: {_first_line(error)}. Restore it, or correct MLFLOW_TRACKING_URI."
        )
    kind = RecsimError if _of_client(error) else UnavailableError
    return kind(
        f"MLflow at {uri} (MLFLOW_TRACKING_URI) fails: {_first_line(error)}. See the log of that server; when it is up, run this job again."
    )


def _of_client(error: Exception) -> bool:
    """Whether MLflow's client itself gave up, with the status that it gives to whatever has none, and asked no server."""
    return (
        getattr(error, "error_code", "") == "INTERNAL_ERROR"
        and type(error).__name__ == "MlflowException"
        and "API request" not in str(error)
    )


def _why_closed(uri: str) -> OSError | None:
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


def _place(uri: str) -> str:
    return f"MLflow at {uri} (MLFLOW_TRACKING_URI)"


def is_away(error: MlflowException) -> bool:
    """Whether the server gave no answer, or none for now."""
    return _status(error) >= 500 or _status(error) in (408, 429)


def _status(error: MlflowException) -> int:
    return int(error.get_http_status_code())  # type: ignore[no-untyped-call]


def _first_line(error: Exception) -> str:
    text = redacted(str(error)).splitlines()  # before it is cut: half of a credential would not be recognised
    return text[0][:300].rstrip(".") if text else type(error).__name__
