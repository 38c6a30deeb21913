"""Opens what lies in an object store with the credentials of an Airflow connection; only the connection's id is ever stored.

The connection is one of the type `aws`: key and secret as login and password, `endpoint_url`, `region_name` and `aws_session_token` as
extras. Without one, the environment and the machine's role decide, as they do for the jobs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseHook
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import Connection

Options = dict[str, Any]


def storage_conn_id() -> str | None:
    """The connection that Airflow is configured to use (`[recsim] storage_conn_id`), if any."""
    return conf.get("recsim", "storage_conn_id", fallback=None) or None


async def acredentials(conn_id: str | None) -> Options:
    """The credentials of a connection, for a trigger; none without a connection."""
    if conn_id is None:
        return {}
    connection = await BaseHook.aget_connection(conn_id)
    return _credentials(connection, await connection.aextra_dejson())


def credentials(conn_id: str | None) -> Options:
    """The credentials of a connection, for a task; none without a connection."""
    if conn_id is None:
        return {}
    connection = BaseHook.get_connection(conn_id)
    return _credentials(connection, connection.extra_dejson)


def delta_options(given: Options) -> dict[str, str]:
    """Credentials as delta-rs takes them."""
    names = {
        "key": "AWS_ACCESS_KEY_ID",
        "secret": "AWS_SECRET_ACCESS_KEY",
        "token": "AWS_SESSION_TOKEN",
        "endpoint_url": "AWS_ENDPOINT_URL",
        "region_name": "AWS_REGION",
    }
    insecure = {"AWS_ALLOW_HTTP": "true"} if str(given.get("endpoint_url", "")).startswith("http://") else {}
    return {names[name]: str(value) for name, value in given.items()} | insecure


def open_inbox(inbox: str, conn_id: str | None, given: Options) -> Path:
    """The inbox as a path: of this machine, or an `ObjectStoragePath`, which is used like one.

    Its file system keeps no listings: a kept one would hide every feed that lands after the first look.
    """
    if "://" not in inbox:
        return Path(inbox)
    import fsspec  # type: ignore[import-untyped]
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach

    scheme = inbox.partition("://")[0]
    rest = {name: value for name, value in given.items() if name != "region_name"}
    if "region_name" in given:
        rest["client_kwargs"] = {"region_name": given["region_name"]}
    # Attached under the connection's id, so that Airflow needs no provider package for the scheme.
    conn_id = conn_id or "recsim_environment"
    attach(scheme, conn_id).fs = fsspec.filesystem(
        scheme, use_listings_cache=False, skip_instance_cache=True, **rest
    )
    return cast("Path", ObjectStoragePath(inbox, conn_id=conn_id))


def _credentials(connection: Connection, extra: Options) -> Options:
    found = {
        "key": connection.login,
        "secret": connection.password,
        "token": extra.get("aws_session_token"),
        "endpoint_url": extra.get("endpoint_url"),
        "region_name": extra.get("region_name"),
    }
    return {name: value for name, value in found.items() if value}
