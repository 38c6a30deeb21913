"""Secrets of the environment: kept out of every message, and out of addresses that are shown."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from recsim_tasks.foundation.errors import ConfigurationError
from recsim_tasks.foundation.redaction import redact_from_now_on

# MLflow's and AWS's clients take their credentials from these variables.
MLFLOW_USERNAME, MLFLOW_PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
SECRET_VARIABLES = (
    MLFLOW_PASSWORD,
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "PGPASSWORD",
)
# The password of a database's URI, as SQLAlchemy reads it.
DATABASE_PASSWORD = re.compile(r"[^:/]+://[^:/@]*:(\S*)@")


def redact_secrets(mlflow_tracking_uri: str | None, api_token: str | None) -> None:
    """Redact the environment's secrets and these two from everything that this process prints."""
    uri = mlflow_tracking_uri or ""
    match = DATABASE_PASSWORD.match(uri)
    password = _server_password(uri) if uri.startswith(("http://", "https://")) else match and match[1]
    variables = [os.environ.get(name) for name in SECRET_VARIABLES]
    for secret in filter(None, [*variables, api_token, password, unquote(password or "")]):
        redact_from_now_on(secret)


def without_credentials(mlflow_tracking_uri: str) -> str:
    """The address of MLflow's server without credentials, which move to the variables of MLflow's client.

    The URI of a database stays as it is: it cannot be opened otherwise.
    """
    if not mlflow_tracking_uri.startswith(("http://", "https://")):
        return mlflow_tracking_uri
    server = urlsplit(mlflow_tracking_uri)
    if "@" not in server.netloc:
        return mlflow_tracking_uri
    os.environ[MLFLOW_USERNAME] = unquote(server.username or "")
    os.environ[MLFLOW_PASSWORD] = unquote(server.password or "")
    address = server._replace(netloc=server.netloc.rpartition("@")[2]).geturl()
    os.environ["MLFLOW_TRACKING_URI"] = address
    return address


def _server_password(uri: str) -> str | None:
    try:
        return urlsplit(uri).password
    except ValueError as error:
        raise ConfigurationError(
            f"MLFLOW_TRACKING_URI is not an address: {error}. Correct it or unset it."
        ) from None
