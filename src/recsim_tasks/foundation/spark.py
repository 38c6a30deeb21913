"""The Spark session of all jobs; the only module that creates one."""

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
from recsim_tasks.foundation.spark_executors import watch_executors

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
# With Spark's defaults a merge of ten rows takes 50 to 200 tasks; `make bench-catalogue` measures the cost.
SMALL_PLANS = {
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
}
# Rows with images are long: batches limited by Spark's default numbers of rows would not fit into memory.
SMALL_BATCHES = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(64 << 20),
    "spark.sql.parquet.columnarReaderBatchSize": "512",
}
PROGRESS_SECONDS = 5.0
CONNECT_SECONDS = 5.0
# The name of an exception in the text of an error that py4j raises.
EXCEPTION = re.compile(r"\w(Exception|Error)\b")
# Messages of errors that no retry can fix.
WRONG_SETTINGS = ("Could not parse Master URL", "IllegalArgumentException")
ONE_MACHINE = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
# Jobs last seconds to minutes: Java's optimising compiler took half the processor time and saved less.
# Without it, Java keeps 48 MB of compiled code. Spark and Delta need more, and were compiled again and again.
QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC"
LOG_CONFIGURATION = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}"


@contextmanager
def spark_session(
    settings: Settings, name: str, extra: Mapping[str, str] | None = None
) -> Iterator[SparkSession]:
    """A session with Delta on `settings.spark_master`, stopped at the end; inside another session, that one.

    `extra` are Spark settings for this session. Raises `UnavailableError` when the master does not answer or
    provides no executor, and `ConfigurationError` when Spark cannot start with these settings.
    """
    from pyspark.sql import SparkSession

    _check_master(settings.spark_master)
    if running := SparkSession.getActiveSession():
        yield running
        return
    spark = _start(settings, name, extra or {})
    try:
        with watch_executors(spark, settings.spark_master):
            yield spark
    finally:
        _stop(spark)


@contextmanager
def log_stage_progress(spark: SparkSession, label: str) -> Iterator[None]:
    """Log the progress of Spark's running stages every few seconds."""
    done = threading.Event()
    thread = threading.Thread(target=_log_progress, args=(spark, label, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=1)


def delta_jars() -> list[Path]:
    """Delta's jars in Ivy's cache; empty until a first session of this user has fetched them."""
    caches = sorted(Path.home().glob(".ivy2*/jars"))
    jars = {jar.name: jar for cache in caches for jar in cache.glob("io.delta_delta-*.jar")}
    required = _coordinates().replace(":", "_", 1).replace(":", "-")
    return sorted(jars.values()) if f"{required}.jar" in jars else []


def fetch_delta_jars(settings: Settings) -> list[Path]:
    """Download Delta's jars if they are missing, so that no job needs the network; returns their paths."""
    if not delta_jars():
        with spark_session(settings, "recsim fetch jars"):
            pass
    return delta_jars()


def _stop(spark: SparkSession) -> None:
    """Stop a session, even if its JVM has ended."""
    with suppress(OSError):
        spark.stop()


def _log_progress(spark: SparkSession, label: str, done: threading.Event) -> None:
    tracker = spark.sparkContext.statusTracker()
    while not done.wait(PROGRESS_SECONDS):
        for number in tracker.getActiveStageIds():
            stage = tracker.getStageInfo(number)
            if stage:
                log.info(
                    "%s: Spark stage %d: %d of %d tasks done, %d running",
                    label,
                    number,
                    stage.numCompletedTasks,
                    stage.numTasks,
                    stage.numActiveTasks,
                )


def _coordinates() -> str:
    from delta import configure_spark_with_delta_pip
    from pyspark.sql import SparkSession

    builder = configure_spark_with_delta_pip(SparkSession.builder)
    return str(builder._options["spark.jars.packages"])


def _start(settings: Settings, name: str, extra: Mapping[str, str]) -> SparkSession:
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    # PySpark's default is the `python3` on PATH. A cluster whose Python is elsewhere sets the variable.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        return SparkSession.builder.config(map={**_configuration(settings, name), **extra}).getOrCreate()
    except Exception as error:  # py4j wraps any exception of the JVM
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
            f"Spark does not start on {settings.spark_master} (RECSIM_SPARK_MASTER): {_reason(error)} Start "
            "that master, or set another; `recsim doctor` checks Java and the jars."
        ) from error


def _check_master(master: str) -> None:
    """Connect to a standalone master: Spark itself would retry for minutes before it gives up."""
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
    one_machine = settings.spark_master.startswith("local")  # includes `local-cluster`
    jars = delta_jars()
    # Where `delta_jars` looks. Java takes the home from the user database, where a container may have none.
    ivy = {"spark.jars.packages": _coordinates(), "spark.jars.ivy": str(Path.home() / ".ivy2.5.2")}
    source = {"spark.jars": ",".join(map(str, jars))} if jars else ivy
    return {
        **DELTA,
        **SMALL_PLANS,
        **SMALL_BATCHES,
        **(ONE_MACHINE if one_machine else {}),
        **source,
        "spark.app.name": name,
        "spark.driver.extraJavaOptions": f"{LOG_CONFIGURATION} {QUICK_JAVA if one_machine else ''}".rstrip(),
        "spark.master": settings.spark_master,
        "spark.driver.memory": settings.spark_driver_memory,
        "spark.sql.shuffle.partitions": str(settings.spark_shuffle_partitions),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.warehouse.dir": str(settings.home.absolute() / "spark-warehouse"),
    }


def _reason(error: Exception) -> str:
    """The line of a JVM's error that names the exception."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    reason = next((line for line in lines if EXCEPTION.search(line)), first)
    return reason.lstrip(": ").rstrip(".") + "."
