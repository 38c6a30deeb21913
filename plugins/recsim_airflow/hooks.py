"""Hooks: from an Airflow connection to an inbox or a Delta table in an object store.

The connection has the type `aws`: login and password are access key and secret key; `endpoint_url`,
`region_name` and `aws_session_token` are extras. Without a connection the environment and the machine's role
decide, as they do for the jobs. Only the id of a connection is ever stored, in a serialized DAG or a trigger.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseHook
from airflow.sdk.configuration import conf

from recsim_airflow.commits import Cursor, TableChanges, TableHead, table_changes, table_head

if TYPE_CHECKING:
    from airflow.sdk import Connection


def storage_conn_id() -> str | None:
    """Id of the connection that `[recsim] storage_conn_id` of the Airflow configuration names, if any."""
    return conf.get("recsim", "storage_conn_id", fallback=None) or None


@dataclass(frozen=True, repr=False)
class StorageCredentials:
    """Credentials of an S3-compatible object store. A field that is None is left to the environment."""

    key: str | None = None
    secret: str | None = None
    token: str | None = None
    endpoint_url: str | None = None
    region_name: str | None = None

    @classmethod
    def of_connection(cls, connection: Connection, extra: dict[str, Any]) -> StorageCredentials:
        """Read a connection of the type `aws`, whose extras are `extra`."""
        return cls(
            key=connection.login or None,
            secret=connection.password or None,
            token=extra.get("aws_session_token"),
            endpoint_url=extra.get("endpoint_url"),
            region_name=extra.get("region_name"),
        )

    def delta_options(self) -> dict[str, str]:
        """The `storage_options` of delta-rs."""
        options = {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_SESSION_TOKEN": self.token,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region_name,
            "AWS_ALLOW_HTTP": "true" if (self.endpoint_url or "").startswith("http://") else None,
        }
        return {name: value for name, value in options.items() if value}

    def fsspec_options(self) -> dict[str, Any]:
        """The arguments of `s3fs.S3FileSystem`."""
        options = {
            "key": self.key,
            "secret": self.secret,
            "token": self.token,
            "endpoint_url": self.endpoint_url,
            "client_kwargs": {"region_name": self.region_name} if self.region_name else None,
        }
        return {name: value for name, value in options.items() if value}


class ObjectStoreHook(BaseHook):
    """Reads the credentials of an object store from an Airflow connection.

    :param conn_id: connection of the type `aws`; None leaves the credentials to the environment
    """

    def __init__(self, conn_id: str | None = None) -> None:
        super().__init__()
        self.conn_id = conn_id

    def get_credentials(self) -> StorageCredentials:
        """Read the connection, in a task."""
        if self.conn_id is None:
            return StorageCredentials()
        connection = self.get_connection(self.conn_id)
        return StorageCredentials.of_connection(connection, connection.extra_dejson)

    async def aget_credentials(self) -> StorageCredentials:
        """Read the connection, in a trigger."""
        if self.conn_id is None:
            return StorageCredentials()
        connection = await self.aget_connection(self.conn_id)
        return StorageCredentials.of_connection(connection, await connection.aextra_dejson())


class InboxHook(ObjectStoreHook):
    """Opens the folder in which feeds land.

    :param inbox: a folder of this machine, or a URI such as `s3://bucket/inbox`
    :param conn_id: connection of the type `aws`, for a URI
    """

    def __init__(self, inbox: str, conn_id: str | None = None) -> None:
        super().__init__(conn_id)
        self.inbox = inbox

    async def aget_path(self) -> Path:
        """The inbox as a path of this machine, or as an `ObjectStoragePath`, which has the same methods."""
        credentials = await self.aget_credentials()
        return await asyncio.to_thread(self._open, credentials)

    def _open(self, credentials: StorageCredentials) -> Path:
        """Open it without a cache of listings, which would hide feeds that land after the first look."""
        if "://" not in self.inbox:
            return Path(self.inbox)
        import fsspec  # type: ignore[import-untyped]
        from airflow.sdk import ObjectStoragePath
        from airflow.sdk.io import attach

        scheme = self.inbox.partition("://")[0]
        # Attached under the connection's id, so that Airflow needs no provider package for the scheme.
        conn_id = self.conn_id or "recsim_environment"
        attach(scheme, conn_id).fs = fsspec.filesystem(
            scheme, use_listings_cache=False, skip_instance_cache=True, **credentials.fsspec_options()
        )
        return cast("Path", ObjectStoragePath(self.inbox, conn_id=conn_id))


class DeltaTableHook(ObjectStoreHook):
    """Reads the log of a Delta table with delta-rs.

    Reading blocks in native code: the methods for triggers run it in a thread.

    :param table_uri: the table's location
    :param conn_id: connection of the type `aws`, for a table in an object store
    """

    def __init__(self, table_uri: str, conn_id: str | None = None) -> None:
        super().__init__(conn_id)
        self.table_uri = table_uri

    def get_head(self) -> TableHead | None:
        """The newest version; None if there is no table. `UnreadableTableError` if it cannot be read."""
        return table_head(self.table_uri, self.get_credentials().delta_options())

    async def aget_head(self) -> TableHead | None:
        """`get_head`, in a trigger."""
        options = (await self.aget_credentials()).delta_options()
        return await asyncio.to_thread(table_head, self.table_uri, options)

    async def aget_changes(self, known: list[Cursor]) -> TableChanges | None:
        """The head, and commits of other writers after the newest of `known`; None if there is no table."""
        options = (await self.aget_credentials()).delta_options()
        return await asyncio.to_thread(table_changes, self.table_uri, known, options)
