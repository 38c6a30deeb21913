"""Create the tables that ingest writes, and put metadata into commits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recsim_tasks.catalogue.delta.log import CHANGE_FEED, read_history
from recsim_tasks.catalogue.delta.reader import open_if_exists
from recsim_tasks.catalogue.delta.unfinished import remove_unfinished
from recsim_tasks.catalogue.schema import PRODUCT_TYPES, spark_ddl
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PRODUCTS = spark_ddl(PRODUCT_TYPES)
QUARANTINE = (
    "feed_id string, product_id string, reason string, row string, image binary, at timestamp, "
    "released_by string, released_at timestamp"
)
WITHDRAWALS = "product_id string, updated_at timestamp, feed_id string, at timestamp"
TRANSACTION = "spark.databricks.delta.write.txnAppId", "spark.databricks.delta.write.txnVersion"
USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"
RECENT_COMMITS = 100


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """What a table is created with."""

    uri: str
    columns: str
    """In Spark's DDL."""
    properties: Mapping[str, str] = field(default_factory=dict)
    partitioned_by: str | None = None


def create_tables(spark: SparkSession, settings: Settings) -> None:
    """Create catalogue and quarantine where they are missing; the caller has the catalogue's lease."""
    create_table(
        spark, TableSpec(uri=settings.products_uri, columns=PRODUCTS, properties=_properties(settings))
    )
    with lease(settings.home, settings.quarantine_uri):
        create_quarantine(spark, settings)


def create_quarantine(spark: SparkSession, settings: Settings) -> None:
    """Create the quarantine where it is missing; the caller has its lease."""
    create_table(
        spark, TableSpec(uri=settings.quarantine_uri, columns=QUARANTINE, properties=_properties(settings))
    )


def create_table(spark: SparkSession, spec: TableSpec) -> None:
    """Create a table where it is missing; the caller has its lease.

    Replaces the remains of an interrupted creation.
    """
    from delta import DeltaTable

    if DeltaTable.isDeltaTable(spark, spec.uri):
        return
    remove_unfinished(spec.uri)
    schema = spark.createDataFrame([], spec.columns).schema
    table = DeltaTable.createIfNotExists(spark).location(spec.uri).addColumns(schema)
    for name, value in spec.properties.items():
        table = table.property(name, value)
    (table.partitionedBy(spec.partitioned_by) if spec.partitioned_by else table).execute()


def _properties(settings: Settings) -> dict[str, str]:
    """Return the properties of a table that ingest writes.

    Column mapping is off, as delta-rs cannot read the change feed with it. Deletion vectors are on: a merge
    then writes the rows that it changes, not whole files (docs/adr/0006).
    """
    return {
        CHANGE_FEED: "true",
        "delta.columnMapping.mode": "none",
        "delta.enableDeletionVectors": "true",
        "delta.deletedFileRetentionDuration": f"interval {settings.retention_days} days",
        "delta.logRetentionDuration": f"interval {settings.retention_days} days",
    }


def read_or_empty(spark: SparkSession, uri: str, columns: str) -> DataFrame:
    """Return the table at `uri`; an empty frame with `columns` where there is none yet."""
    from delta import DeltaTable

    return (
        spark.read.format("delta").load(uri)
        if DeltaTable.isDeltaTable(spark, uri)
        else spark.createDataFrame([], columns)
    )


@contextmanager
def commit_metadata(
    spark: SparkSession, application: str, transaction: int, metadata: Mapping[str, object]
) -> Iterator[None]:
    """Put a transaction and `metadata` into the commit that is made inside.

    Delta commits nothing twice under one application and transaction.
    """
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
    """Force commits to a local disk: Spark leaves them in the page cache. Object stores need no flush."""
    if "://" not in uri or uri.startswith("file:"):
        os.sync()


def recent_commit_metadata(uri: str) -> list[Mapping[str, Any]]:
    """Return the metadata of the last 100 commits that have any, newest first.

    Other writers may write anything there.
    """
    table = open_if_exists(uri)
    if table is None:
        return []
    history = read_history(table, RECENT_COMMITS)
    return [info.user_metadata for info in history if info.user_metadata]
