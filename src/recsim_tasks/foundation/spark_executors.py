"""The executors of a Spark cluster: count their task slots, and end a job that gets none.

Spark itself waits for executors forever, also on a cluster without workers or free cores.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.foundation.errors import RecsimError, UnavailableError
from recsim_tasks.foundation.outages import diagnose
from recsim_tasks.foundation.settings import is_local

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

# A job is ended when none of its tasks has run for this long.
PATIENCE_SECONDS = 60.0
# How long to wait for executors to register after the session has started.
REGISTER_SECONDS = 60.0
POLL_SECONDS = 0.5
LOST = (
    "SparkContext was shut down",
    "stopped SparkContext",
    "All masters are unresponsive",
    "Master removed our application",
)


@contextmanager
def watch_executors(spark: SparkSession, master: str) -> Iterator[None]:
    """End the session when its jobs get no executor.

    Spark's errors about a lost master, application or executor are raised as `UnavailableError`.
    """
    done, starved = threading.Event(), threading.Event()
    thread = threading.Thread(target=_watch, args=(spark, done, starved), name="executors", daemon=True)
    if not is_local(master):
        thread.start()
    try:
        yield
    except Exception as error:
        if starved.is_set():
            raise UnavailableError(_no_executor_message(master)) from error
        known = None if isinstance(error, RecsimError) else _translate(error, master)
        if known is None:
            raise
        raise known from error
    else:
        if starved.is_set() or has_ended(spark):  # Hyperopt hides that the session of its trials has ended
            raise UnavailableError(
                _no_executor_message(master) if starved.is_set() else _ended_message(master)
            )
    finally:
        done.set()


def has_ended(spark: SparkSession) -> bool:
    """Whether the session was stopped from outside, so that results of its jobs mean nothing."""
    try:
        return bool(spark.sparkContext._jsc.sc().isStopped())
    except Exception:  # its JVM has ended
        return True


def slots(spark: SparkSession, master: str, required: int) -> int:
    """The number of tasks that run at once.

    Waits for executors to register until there are `required` slots.
    """
    context = spark.sparkContext
    if context.getConf().get("spark.dynamicAllocation.enabled") == "true":
        return required  # executors come when a job asks for them
    java = context._jsc.sc()  # PySpark has no API for this
    deadline = time.monotonic() + (0 if is_local(master) else REGISTER_SECONDS)
    while True:
        count = int(java.maxNumConcurrentTasks(java.resourceProfileManager().defaultResourceProfile()))
        if count >= required or time.monotonic() >= deadline:
            return count
        time.sleep(POLL_SECONDS)


def hosts_without(spark: SparkSession, master: str, path: Path) -> list[str]:
    """The hosts whose executors do not see `path` of this machine, checked by one task a slot."""

    def check(_: int) -> str | None:
        return None if os.path.exists(text) else socket.gethostname()  # noqa: PTH110 - runs on an executor, whose Python may lack recsim

    if is_local(master):
        return []
    text, tasks = str(path), max(1, slots(spark, master, 1))
    hosts = spark.sparkContext.parallelize(range(tasks), tasks).map(check).collect()
    return sorted({host for host in hosts if host})


def _watch(spark: SparkSession, done: threading.Event, starved: threading.Event) -> None:
    since = time.monotonic()
    while not done.wait(POLL_SECONDS):
        try:
            if _is_served(spark):
                since = time.monotonic()
            elif time.monotonic() - since >= PATIENCE_SECONDS:
                starved.set()
                log.error("No task of this job has run for %.0f s; ending it.", PATIENCE_SECONDS)
                spark.sparkContext._jsc.sc().stop()  # the main thread is blocked in PySpark
                return
        except Exception:  # the session or its JVM has ended, which the main thread notices itself
            return


def _is_served(spark: SparkSession) -> bool:
    """Whether Spark is idle, or is running a task."""
    tracker = spark.sparkContext.statusTracker()
    stages = [stage for number in tracker.getActiveStageIds() if (stage := tracker.getStageInfo(number))]
    return not stages or any(stage.numActiveTasks for stage in stages)


def _no_executor_message(master: str) -> str:
    return (
        f"Spark at {master} (RECSIM_SPARK_MASTER) provided no executor for this job for "
        f"{PATIENCE_SECONDS:.0f} s. Start its workers, free cores of other applications, or request fewer "
        "cores, GPUs or less memory an executor; then run this job again."
    )


def _ended_message(master: str) -> str:
    return (
        f"Spark at {master} (RECSIM_SPARK_MASTER) ended this job's application. Start it, then run this job "
        "again."
    )


def _translate(error: Exception, master: str) -> RecsimError | None:
    """The error behind one of PySpark or py4j; None if it has another cause."""
    if not type(error).__module__.startswith(("pyspark", "py4j")):
        return None
    text = str(error)
    if any(lost in text for lost in LOST):
        return UnavailableError(_ended_message(master))
    if type(error).__name__ == "Py4JNetworkError":
        return RecsimError(
            "Spark's Java process has ended, most likely because memory ran out. Raise "
            "RECSIM_SPARK_DRIVER_MEMORY or free memory, then run this job again."
        )
    return diagnose(error, f"Spark at {master} (RECSIM_SPARK_MASTER), or the storage of its tables")
