"""A process with one Spark session, which times the operations of one variant."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Self

import psutil

from recsim_tasks.contracts import Cursor, IngestResult
from recsim_tasks.foundation import spark
from recsim_tasks.foundation.processes import die_with
from recsim_tasks.foundation.settings import Settings, load_settings

# Unrelated to speed: the time zone, and no progress bars in the log.
KEPT = ("spark.sql.session.timeZone", "spark.ui.showConsoleProgress")
_open = ExitStack()


@dataclass(frozen=True)
class Time:
    """Elapsed and CPU time in seconds; load by other processes affects CPU time less."""

    wall: float
    cpu: float
    """Of the process and all its children, including the JVM and Spark's Python workers."""


@dataclass
class Session:
    """A session with our settings, or with stock settings and `stock` shuffle partitions.

    It runs the same code.
    """

    home: Path
    stock: int | None = None

    def __enter__(self) -> Self:
        """Start process and session; this is not timed."""
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), _start, (self.home, self.stock))
        self._pool.submit(int).result()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the session, then the process."""
        self._pool.submit(_stop).result()
        self._pool.shutdown()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a module-level function in the process."""
        return self._pool.submit(function, *arguments).result()


def settings_of(home: Path) -> Settings:
    """Return the default settings, with everything under `home`."""
    os.environ["RECSIM_HOME"] = str(home)
    return load_settings()


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Time, Any]:
    """Call a function; returns its time and its result."""
    start, cpu = time.perf_counter(), _cpu_seconds()
    result = function(*arguments)
    return Time(time.perf_counter() - start, _cpu_seconds() - cpu), result


def ingest(home: Path, feed: Path) -> IngestResult:
    """Run the real ingest of one feed."""
    from recsim_tasks.catalogue.feeds.ingest import ingest_feed

    return ingest_feed(settings_of(home), feed)


def build_home(home: Path, rows: Path | None) -> None:
    """Create the tables as an ingest does, and fill the catalogue with `rows`."""
    from pyspark.sql import SparkSession

    from recsim_tasks.catalogue.delta.writer import PRODUCTS, create_tables

    settings, session = settings_of(home), SparkSession.builder.getOrCreate()
    create_tables(session, settings)
    if rows is not None:
        session.read.schema(PRODUCTS).parquet(str(rows)).write.format("delta").mode("append").save(
            settings.products_uri
        )


def without_deletion_vectors(home: Path) -> None:
    """Turn deletion vectors off, so that a merge rewrites the files that it touches."""
    from pyspark.sql import SparkSession

    uri = settings_of(home).products_uri
    SparkSession.builder.getOrCreate().sql(
        f"ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')"
    )


def read_changes(uri: str, columns: list[str], after: Cursor, to: Cursor) -> int:
    """Read the same range with Spark's change feed reader; returns the number of rows."""
    from pyspark.sql import SparkSession

    reader = SparkSession.builder.getOrCreate().read.format("delta").option("readChangeFeed", "true")
    feed = reader.option("startingVersion", after.version + 1).option("endingVersion", to.version).load(uri)
    return int(feed.select(*columns, "_change_type", "_commit_version").toArrow().num_rows)


def _start(home: Path, stock: int | None) -> None:
    die_with(os.getppid())
    if stock:
        kept = {name: spark.SMALL_PLANS[name] for name in KEPT}
        # The stock ratio: 200 shuffle partitions to 50 snapshot partitions.
        spark.SMALL_PLANS = kept | {"spark.databricks.delta.snapshotPartitions": str(stock // 4)}
        spark.SMALL_BATCHES = {}
        del spark.ONE_MACHINE["spark.driver.extraJavaOptions"]
        os.environ["RECSIM_SPARK_SHUFFLE_PARTITIONS"] = str(stock)
    _open.enter_context(spark.spark_session(settings_of(home), "recsim benchmark"))


def _stop() -> None:
    _open.close()


def _cpu_seconds() -> float:
    """CPU time of this process and its children, including those that have ended."""
    this = psutil.Process()
    return sum(sum(process.cpu_times()[:4]) for process in (this, *this.children(recursive=True)))
