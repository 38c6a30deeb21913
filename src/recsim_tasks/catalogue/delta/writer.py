"""The Delta tables that an ingest writes: their columns and properties, and what each of its commits says of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.delta.unfinished import remove_unfinished
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PRODUCTS = "product_id string, title string, category string, price double, in_stock boolean, updated_at timestamp, image binary, image_hash string"
QUARANTINE = "feed_id string, product_id string, reason string, row string, image binary, at timestamp, released_by string, released_at timestamp"
WITHDRAWALS = "product_id string, updated_at timestamp, feed_id string, at timestamp"
TRANSACTION = "spark.databricks.delta.write.txnAppId", "spark.databricks.delta.write.txnVersion"
COMMITS_LOOKED_AT = 100
USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


def create_tables(spark: SparkSession, settings: Settings) -> None:
    """Create catalogue and quarantine where they are missing; the caller holds the catalogue's lease."""
    create_table(spark, settings.products_uri, PRODUCTS, _properties(settings))
    with lease(settings.home, settings.quarantine_uri):
        create_quarantine(spark, settings)


def create_quarantine(spark: SparkSession, settings: Settings) -> None:
    """Create the quarantine where it is missing; the caller holds its lease."""
    create_table(spark, settings.quarantine_uri, QUARANTINE, _properties(settings))


def create_table(
    spark: SparkSession,
    uri: str,
    schema: str,
    properties: Mapping[str, str] = MappingProxyType({}),
    partitioned_by: str | None = None,
) -> None:
    """Create a table where it is missing, in place of what a killed try left; the caller holds its lease."""
    from delta import DeltaTable

    if DeltaTable.isDeltaTable(spark, uri):
        return
    remove_unfinished(uri)
    table = (
        DeltaTable.createIfNotExists(spark).location(uri).addColumns(spark.createDataFrame([], schema).schema)
    )
    for name, value in properties.items():
        table = table.property(name, value)
    (table.partitionedBy(partitioned_by) if partitioned_by else table).execute()


def _properties(settings: Settings) -> dict[str, str]:
    """What a table of an ingest is created with.

    Change feed on; column mapping off, since delta-rs then refuses to read the feed; deletion vectors on, so that a merge writes
    what it changes and not the files around it (docs/adr/0006).
    """
    return {
        "delta.enableChangeDataFeed": "true",
        "delta.columnMapping.mode": "none",
        "delta.enableDeletionVectors": "true",
        "delta.deletedFileRetentionDuration": f"interval {settings.retention_days} days",
        "delta.logRetentionDuration": f"interval {settings.retention_days} days",
    }


def read_or_empty(spark: SparkSession, uri: str, schema: str) -> DataFrame:
    """The table at `uri`; without rows where there is none yet."""
    from delta import DeltaTable

    return (
        spark.read.format("delta").load(uri)
        if DeltaTable.isDeltaTable(spark, uri)
        else spark.createDataFrame([], schema)
    )


@contextmanager
def commit_metadata(
    spark: SparkSession, application: str, transaction: int, metadata: Mapping[str, Any]
) -> Iterator[None]:
    """Write the transaction and `metadata` into the next commit, where `ingest` and people look for them."""
    values = dict(zip(TRANSACTION, (application, str(transaction)), strict=True))
    values[USER_METADATA] = json.dumps(metadata)
    for name, value in values.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name in values:
            spark.conf.unset(name)


def flush(uri: str) -> None:
    """Have on the disk what was committed, as object stores do by themselves: Spark leaves files of this machine to the page cache."""
    if "://" not in uri or uri.startswith("file:"):
        os.sync()


def told_by_commits(uri: str) -> list[dict[str, Any]]:
    """What the last commits of the table say of themselves, newest first; other writers may say anything, or nothing."""
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(uri):
        return []
    told = (_object(entry.get("userMetadata")) for entry in DeltaTable(uri).history(COMMITS_LOOKED_AT))
    return [entry for entry in told if entry]


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
