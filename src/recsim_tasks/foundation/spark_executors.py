"""The executors of a Spark cluster: how many tasks they run at once, and the end of a job that gets none.

Spark itself waits for an executor for ever: a cluster without workers, or one whose cores are all taken, is no error to it.
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

# A job of which no task runs for this long is ended.
PATIENCE_SECONDS = 60.0
# Executors that register later than this after the session began are not waited for.
REGISTER_SECONDS = 60.0
POLL_SECONDS = 0.5
LOST = (
    "SparkContext was shut down",
    "stopped SparkContext",
    "All masters are unresponsive",
    "Master removed our application",
)


@contextmanager
def waited_for(spark: SparkSession, master: str) -> Iterator[None]:
    """End the session when its jobs get no executor; what Spark raises because a part of it is away is an `UnavailableError`."""
    done, starved = threading.Event(), threading.Event()
    thread = threading.Thread(target=_watch, args=(spark, done, starved), name="executors", daemon=True)
    if not is_local(master):
        thread.start()
    try:
        yield
    except Exception as error:
        if starved.is_set():
            raise UnavailableError(_starved(master)) from error
        known = None if isinstance(error, RecsimError) else _meaning(error, master)
        if known is None:
            raise
        raise known from error
    else:
        if starved.is_set() or has_ended(spark):  # Hyperopt hides that its trials found no session any more
            raise UnavailableError(_starved(master) if starved.is_set() else _ended(master))
    finally:
        done.set()


def has_ended(spark: SparkSession) -> bool:
    """Whether the session was stopped by another than who opened it, so that what its jobs say is worth nothing."""
    try:
        return bool(spark.sparkContext._jsc.sc().isStopped())
    except Exception:  # its JVM is gone
        return True


def slots(spark: SparkSession, master: str, wanted: int) -> int:
    """How many tasks run at once; waits for executors that are still registering until there is room for `wanted`."""
    context = spark.sparkContext
    if context.getConf().get("spark.dynamicAllocation.enabled") == "true":
        return wanted  # executors come when a job asks for them
    java = context._jsc.sc()  # PySpark has no other way to ask
    deadline = time.monotonic() + (0 if is_local(master) else REGISTER_SECONDS)
    while True:
        found = int(java.maxNumConcurrentTasks(java.resourceProfileManager().defaultResourceProfile()))
        if found >= wanted or time.monotonic() >= deadline:
            return found
        time.sleep(POLL_SECONDS)


def blind_hosts(spark: SparkSession, master: str, path: Path) -> list[str]:
    """The hosts whose executors do not see `path` of this machine; one task a slot looks."""

    def look(_: int) -> str | None:
        return None if os.path.exists(seen) else socket.gethostname()  # noqa: PTH110 - runs on an executor, whose Python may be bare

    if is_local(master):
        return []
    seen, tasks = str(path), max(1, slots(spark, master, 1))
    found = spark.sparkContext.parallelize(range(tasks), tasks).map(look).collect()
    return sorted({host for host in found if host})


def _watch(spark: SparkSession, done: threading.Event, starved: threading.Event) -> None:
    since = time.monotonic()
    while not done.wait(POLL_SECONDS):
        try:
            if _served(spark):
                since = time.monotonic()
            elif time.monotonic() - since >= PATIENCE_SECONDS:
                starved.set()
                log.info(f"No task of this job has run for {PATIENCE_SECONDS:.0f} s: it is ended")
                spark.sparkContext._jsc.sc().stop()  # the main thread waits within a call of PySpark's own
                return
        except Exception:  # the session ends, or its JVM is gone: the main thread hears of it
            return


def _served(spark: SparkSession) -> bool:
    """Whether Spark has nothing to do, or does it."""
    tracker = spark.sparkContext.statusTracker()
    stages = [stage for number in tracker.getActiveStageIds() if (stage := tracker.getStageInfo(number))]
    return not stages or any(stage.numActiveTasks for stage in stages)


def _starved(master: str) -> str:
    return (
        f"Spark at {master} (RECSIM_SPARK_MASTER) gave this job no executor for {PATIENCE_SECONDS:.0f} s. Start its workers, free cores that "
        "other applications hold, or ask for fewer cores, GPUs or memory an executor; then run this job again."
    )


def _ended(master: str) -> str:
    return f"Spark at {master} (RECSIM_SPARK_MASTER) ended this job's application. Start it, then run this job again."


def _meaning(error: Exception, master: str) -> RecsimError | None:
    """What is away when PySpark or py4j raises `error`; None for an error of another library, or of another kind."""
    if not type(error).__module__.startswith(("pyspark", "py4j")):
        return None
    text = str(error)
    if any(lost in text for lost in LOST):
        return UnavailableError(_ended(master))
    if type(error).__name__ == "Py4JNetworkError":
        return RecsimError(
            "Spark's Java process has ended, mostly for want of memory. Raise RECSIM_SPARK_DRIVER_MEMORY or free memory, then run this job again."
        )
    return diagnose(error, f"Spark at {master} (RECSIM_SPARK_MASTER), or the storage of its tables")
