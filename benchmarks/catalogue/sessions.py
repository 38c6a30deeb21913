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

from recsim_tasks.catalogue import spark
from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.foundation.settings import Settings, load_settings

STOCK_SHUFFLE_PARTITIONS = "200"
# Nothing of speed: where the session's times are, and no bars in the log.
KEPT = ("spark.sql.session.timeZone", "spark.ui.showConsoleProgress")
_open = ExitStack()


@dataclass
class Session:
    """Ours, or one with Spark's and Delta's stock settings; the code that runs in it is the same."""

    home: Path
    stock: bool = False

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


def timed_ingest(home: Path, feed: Path) -> tuple[float, dict[str, Any]]:
    """The real ingest of one feed: seconds, and its result."""
    from recsim_tasks.catalogue.ingest import ingest_feed

    settings, start = settings_of(home), time.perf_counter()
    result = ingest_feed(settings, feed)
    return time.perf_counter() - start, result


def build_home(home: Path, rows: Path | None) -> None:
    """Create the tables as an ingest does, and fill the catalogue with `rows`."""
    from pyspark.sql import SparkSession

    from recsim_tasks.catalogue.tables import PRODUCTS, create_tables

    settings, session = settings_of(home), SparkSession.builder.getOrCreate()
    create_tables(session, settings)
    if rows is not None:
        session.read.schema(PRODUCTS).parquet(str(rows)).write.format("delta").mode("append").save(settings.products_uri)


def without_deletion_vectors(home: Path) -> None:
    """From here on a merge writes the files that it touches anew."""
    from pyspark.sql import SparkSession

    uri = settings_of(home).products_uri
    SparkSession.builder.getOrCreate().sql(f"ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')")


def timed_change_read(uri: str, columns: list[str], after: Cursor, to: Cursor) -> tuple[float, int]:
    """The same range as rows in this process, by Spark's reader of the change feed: seconds, and how many rows."""
    from pyspark.sql import SparkSession

    reader = SparkSession.builder.getOrCreate().read.format("delta").option("readChangeFeed", "true")
    start = time.perf_counter()
    feed = reader.option("startingVersion", after.version + 1).option("endingVersion", to.version).load(uri)
    count = feed.select(*columns, "_change_type", "_commit_version").toArrow().num_rows
    return time.perf_counter() - start, count


def _start(home: Path, stock: bool) -> None:
    if stock:
        spark.SMALL_PLANS = {name: spark.SMALL_PLANS[name] for name in KEPT}
        spark.SMALL_BATCHES = {}
        os.environ["RECSIM_SPARK_SHUFFLE_PARTITIONS"] = STOCK_SHUFFLE_PARTITIONS
    _open.enter_context(spark.spark_session(settings_of(home), "recsim benchmark"))


def _stop() -> None:
    _open.close()
