"""The Spark session of every job that needs one; the only module that builds it."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.foundation.errors import ConfigurationError, UnavailableError
from recsim_tasks.foundation.outages import diagnose
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.spark_executors import waited_for

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
# Stock Spark plans 50 to 200 tasks for a merge of ten rows; `make bench-catalogue` says what that costs.
SMALL_PLANS = {
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
}
# Images make long rows: by Spark's own limits, which count rows, a batch of large ones would not fit into memory.
SMALL_BATCHES = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(64 << 20),
    "spark.sql.parquet.columnarReaderBatchSize": "512",
}
FOLLOW_SECONDS = 5.0
CONNECT_SECONDS = 5.0
# By these Spark says that it will never start as it is configured.
WRONG_SETTINGS = ("Could not parse Master URL", "IllegalArgumentException")
ONE_MACHINE = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    # A job here lasts seconds to minutes, of which Java's optimising compiler took half the processor without ever earning it back.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


@contextmanager
def spark_session(
    settings: Settings, name: str, more: Mapping[str, str] | None = None
) -> Iterator[SparkSession]:
    """A session on `settings.spark_master` with Delta on, stopped at the end by whoever opened it; inside another one it is that one.

    It has `more` of Spark's settings than every session.

    Raises `UnavailableError` when the master does not answer or gives no executor, and `ConfigurationError` when Delta's jars cannot be had.
    """
    from pyspark.sql import SparkSession

    _check_master(settings.spark_master)
    if running := SparkSession.getActiveSession():
        yield running
        return
    spark = _start(settings, name, more or {})
    spark.sparkContext.setLogLevel("ERROR")
    try:
        with waited_for(spark, settings.spark_master):
            yield spark
    finally:
        _stop(spark)


@contextmanager
def following(spark: SparkSession, label: str) -> Iterator[None]:
    """Say every few seconds how far Spark's running stages are, for whoever watches the log."""
    done = threading.Event()
    thread = threading.Thread(target=_follow, args=(spark, label, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=1)


def delta_jars() -> list[Path]:
    """Delta's jars as Ivy keeps them; empty before the first session of this user has fetched them."""
    caches = sorted(Path.home().glob(".ivy2*/jars"))
    found = {jar.name: jar for cache in caches for jar in cache.glob("io.delta_delta-*.jar")}
    wanted = _coordinates().replace(":", "_", 1).replace(":", "-")
    return sorted(found.values()) if f"{wanted}.jar" in found else []


def warm_jars(settings: Settings) -> list[Path]:
    """Fetch Delta's jars once, so that no job needs the network; returns where they are."""
    if not delta_jars():
        with spark_session(settings, "recsim warm-up"):
            pass
    return delta_jars()


def _stop(spark: SparkSession) -> None:
    """Stop a session, also one whose JVM is gone."""
    with suppress(OSError):
        spark.stop()


def _follow(spark: SparkSession, label: str, done: threading.Event) -> None:
    tracker = spark.sparkContext.statusTracker()
    while not done.wait(FOLLOW_SECONDS):
        for number in tracker.getActiveStageIds():
            stage = tracker.getStageInfo(number)
            if stage:
                log.info(
                    f"{label}: Spark stage {number}: {stage.numCompletedTasks} of {stage.numTasks} tasks done, {stage.numActiveTasks} running"
                )


def _coordinates() -> str:
    from delta import configure_spark_with_delta_pip
    from pyspark.sql import SparkSession

    builder = configure_spark_with_delta_pip(SparkSession.builder)
    return str(builder._options["spark.jars.packages"])


def _start(settings: Settings, name: str, more: Mapping[str, str]) -> SparkSession:
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    # Else PySpark takes whatever `python3` is on PATH; a cluster whose Python lies elsewhere sets the variable itself.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        return SparkSession.builder.config(map={**_configuration(settings, name), **more}).getOrCreate()
    except Exception as error:  # py4j wraps whatever the JVM threw
        wrong = isinstance(error, PySparkRuntimeError) or any(name in str(error) for name in WRONG_SETTINGS)
        if not wrong and "py4j" not in type(error).__module__:
            raise
        if known := diagnose(error, f"Spark at {settings.spark_master} (RECSIM_SPARK_MASTER)"):
            raise known from error
        if wrong:
            raise ConfigurationError(
                f"Spark does not start on {settings.spark_master}: {_reason(error)} Run `recsim doctor`."
            ) from error
        raise UnavailableError(
            f"No Spark session on {settings.spark_master} (RECSIM_SPARK_MASTER): {_reason(error)} Start that master, or set another; `recsim doctor` looks at Java and the jars."
        ) from error


def _check_master(master: str) -> None:
    """Ask a standalone master for a connection: Spark itself would try for minutes before it says that there is none."""
    match = re.fullmatch(r"spark://([^:,/]+):(\d+)", master)
    if match is None:
        return
    try:
        socket.create_connection((match[1], int(match[2])), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UnavailableError(
            f"No Spark master answers at {master} (RECSIM_SPARK_MASTER): {error}. Start it, or set another."
        ) from error


def _configuration(settings: Settings, name: str) -> dict[str, str | int | float | bool | None]:
    one_machine = settings.spark_master.startswith("local")  # a `local-cluster` too
    jars = delta_jars()
    # Where `delta_jars` looks: Java's own idea of a home is the user database's, which a container may not have.
    ivy = {"spark.jars.packages": _coordinates(), "spark.jars.ivy": str(Path.home() / ".ivy2.5.2")}
    source = {"spark.jars": ",".join(map(str, jars))} if jars else ivy
    return {
        **DELTA,
        **SMALL_PLANS,
        **SMALL_BATCHES,
        **(ONE_MACHINE if one_machine else {}),
        **source,
        "spark.app.name": name,
        "spark.master": settings.spark_master,
        "spark.driver.memory": settings.spark_driver_memory,
        "spark.sql.shuffle.partitions": str(settings.spark_shuffle_partitions),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.warehouse.dir": str(settings.home.absolute() / "spark-warehouse"),
    }


def _reason(error: Exception) -> str:
    """The first line of what the JVM said."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next(
        (line for line in lines if "Exception" in line or "rror" in line),
        lines[0] if lines else type(error).__name__,
    )
    return told.rstrip(".") + "."
