"""A process with one Spark session, in which a variant's work is timed."""

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

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation import spark
from recsim_tasks.foundation.processes import die_with
from recsim_tasks.foundation.settings import Settings, load_settings

# Nothing of speed: where the session's times are, and no bars in the log.
KEPT = ("spark.sql.session.timeZone", "spark.ui.showConsoleProgress")
_open = ExitStack()


@dataclass(frozen=True)
class Time:
    """How long something took, and how much of the processors: what others do at the time changes the one more than the other."""

    wall: float
    cpu: float
    """Of the process and all its children, the JVM and Spark's Python workers among them."""


@dataclass
class Session:
    """Ours, or one with Spark's and Delta's stock settings and `stock` shuffle partitions; the code that runs in it is the same."""

    home: Path
    stock: int | None = None

    def __enter__(self) -> Self:
        """Start process and session; what that takes is in no figure."""
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), _start, (self.home, self.stock))
        self._pool.submit(int).result()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the session, then the process."""
        self._pool.submit(_stop).result()
        self._pool.shutdown()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of a module in the process."""
        return self._pool.submit(function, *arguments).result()


def settings_of(home: Path) -> Settings:
    """The defaults, with everything under `home`."""
    os.environ["RECSIM_HOME"] = str(home)
    return load_settings()


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Time, Any]:
    """Call a function: how long it took, and its result."""
    start, cpu = time.perf_counter(), _cpu_seconds()
    result = function(*arguments)
    return Time(time.perf_counter() - start, _cpu_seconds() - cpu), result


def ingest(home: Path, feed: Path) -> dict[str, Any]:
    """The real ingest of one feed."""
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
    """From here on a merge writes the files that it touches anew."""
    from pyspark.sql import SparkSession

    uri = settings_of(home).products_uri
    SparkSession.builder.getOrCreate().sql(
        f"ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')"
    )


def read_changes(uri: str, columns: list[str], after: Cursor, to: Cursor) -> int:
    """The same range as rows in this process, by Spark's reader of the change feed; returns how many."""
    from pyspark.sql import SparkSession

    reader = SparkSession.builder.getOrCreate().read.format("delta").option("readChangeFeed", "true")
    feed = reader.option("startingVersion", after.version + 1).option("endingVersion", to.version).load(uri)
    return int(feed.select(*columns, "_change_type", "_commit_version").toArrow().num_rows)


def _start(home: Path, stock: int | None) -> None:
    die_with(os.getppid())
    if stock:
        kept = {name: spark.SMALL_PLANS[name] for name in KEPT}
        # Stock is 200 of Spark's partitions and 50 of Delta's snapshot.
        spark.SMALL_PLANS = kept | {"spark.databricks.delta.snapshotPartitions": str(stock // 4)}
        spark.SMALL_BATCHES = {}
        del spark.ONE_MACHINE["spark.driver.extraJavaOptions"]
        os.environ["RECSIM_SPARK_SHUFFLE_PARTITIONS"] = str(stock)
    _open.enter_context(spark.spark_session(settings_of(home), "recsim benchmark"))


def _stop() -> None:
    _open.close()


def _cpu_seconds() -> float:
    """Of this process, its children, and those of them that have ended."""
    this = psutil.Process()
    return sum(sum(process.cpu_times()[:4]) for process in (this, *this.children(recursive=True)))
