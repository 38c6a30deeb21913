"""Ingest on a real cluster whose executors are missing, or see other files than the driver."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyspark
import pytest

from recsim_demo.feeds import deliver, upsert
from recsim_tasks.foundation.settings import Settings

HERE = Path(__file__).parent
SPARK = Path(pyspark.__file__).parent
START_SECONDS = 60.0
NAMESPACE = ("unshare", "--map-root-user", "--mount")


@dataclass
class Cluster:
    """A standalone master without workers, until some are started."""

    folder: Path
    port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def master(self) -> str:
        return f"spark://127.0.0.1:{self.port}"

    def start(self, what: str, *arguments: str, before: tuple[str, ...] = ()) -> None:
        name = f"org.apache.spark.deploy.{what}"
        with (self.folder / f"{what}.log").open("ab") as log:
            environment = os.environ | {"SPARK_HOME": str(SPARK), "SPARK_LOCAL_IP": "127.0.0.1"}
            command = [*before, str(SPARK / "bin" / "spark-class"), name, *arguments]
            self.processes.append(
                subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
            )

    def add_worker(self, cores: int, blind: Path | None = None) -> None:
        """Add a worker, for which the folder `blind` is empty, as on another machine."""
        where = ["--host", "127.0.0.1", "--webui-port", "0", "-d", str(self.folder / "work")]
        hide = (*NAMESPACE, "bash", "-c", 'mount -t tmpfs none "$0"; exec "$@"', str(blind)) if blind else ()
        self.start("worker.Worker", *where, "-c", str(cores), "-m", "2g", self.master, before=hide)

    def stop(self) -> None:
        family = [
            member
            for process in self.processes
            for member in psutil.Process(process.pid).children(recursive=True)
        ]
        for member in family:
            member.kill()
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        cluster = Cluster(tmp_path, probe.getsockname()[1])
    cluster.start("master.Master", "--host", "127.0.0.1", "--port", str(cluster.port), "--webui-port", "0")
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", cluster.port), 1).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield cluster
    cluster.stop()


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=os.environ | variables, capture_output=True, text=True, timeout=240
    )


@pytest.mark.drill
@pytest.mark.spark
def test_a_job_without_executors_fails_and_its_feed_stays_in_the_inbox(
    settings: Settings, cluster: Cluster
) -> None:
    feed = deliver(settings.inbox_dir, "one", [upsert(1, "c", None)], "one")
    done = run([str(HERE / "cluster_job.py"), "4", "ingest"], RECSIM_SPARK_MASTER=cluster.master)
    result = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, result["error_type"]) == (1, "unavailable")
    assert (
        f"Spark at {cluster.master} (RECSIM_SPARK_MASTER) provided no executor for this job"
        in result["error"]
    )
    assert (feed / "manifest.json").exists()
    assert not (settings.inbox_dir / ".refused").exists()


STARVED = """
from recsim_tasks.foundation import spark_executors
from recsim_tasks.foundation.spark import spark_session
from recsim_tasks.foundation.errors import UnavailableError
from recsim_tasks.foundation.settings import load_settings
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.tuning.hyperopt_search import Search, run_search

spark_executors.PATIENCE_SECONDS, results = 4, []
try:
    with spark_session(load_settings(), "starved") as spark:
        search = Search(trials=4, parallelism=2, seconds=300, seed=0, initial_points=[Hyperparameters()])
        run_search(spark, search, lambda point: None, results.append, lambda: False)
except UnavailableError as error:
    print(len(results), error)
"""


@pytest.mark.drill
@pytest.mark.spark
def test_a_search_without_executors_counts_no_trial_as_failed(settings: Settings, cluster: Cluster) -> None:
    """Otherwise a retry would not try these values again."""
    done = run(["-c", STARVED], RECSIM_SPARK_MASTER=cluster.master)
    assert done.stdout.startswith("0 Spark at"), done.stderr[-3000:]


LATE = """
import sys, threading, time
from recsim_tasks.foundation.spark_executors import slots
from recsim_tasks.foundation.spark import spark_session
from recsim_tasks.foundation.settings import load_settings

settings = load_settings()
with spark_session(settings, "late") as spark:
    print(spark.sparkContext.defaultParallelism, flush=True)
    print(slots(spark, settings.spark_master, 3), flush=True)
"""


@pytest.mark.drill
@pytest.mark.spark
def test_slots_include_executors_that_register_late(settings: Settings, cluster: Cluster) -> None:
    variables = {"RECSIM_SPARK_MASTER": cluster.master}
    job = subprocess.Popen(
        [sys.executable, "-c", LATE], env=os.environ | variables, stdout=subprocess.PIPE, text=True
    )
    assert job.stdout is not None
    assert int(job.stdout.readline()) == 2  # Spark's answer before executors have registered
    cluster.add_worker(cores=3)
    assert int(job.stdout.readline()) == 3
    assert job.wait(60) == 0


@pytest.mark.drill
@pytest.mark.spark
def test_a_feed_is_not_refused_when_executors_do_not_find_its_file(settings: Settings) -> None:
    """The control is the corrupt feed before it, which is refused."""
    for number, name in enumerate(("corrupt", "unseen")):
        feed = deliver(settings.inbox_dir, name, [upsert(n, "c", None) for n in range(300)], name)
        os.utime(feed / "manifest.json", (number + 1, number + 1))
    done = run([str(HERE / "feeds_that_break.py")], RECSIM_SPARK_MASTER="local-cluster[2,1,1024]")
    assert done.returncode == 1, done.stderr[-3000:]
    assert re.search(r"unseen/\S+ disappeared while it was read\. The feed is not refused", done.stdout)
    (refused,) = (settings.inbox_dir / ".refused").iterdir()
    assert refused.name.endswith("-corrupt")
    assert "cannot be read as parquet" in json.loads((refused / "note.json").read_text())["reason"]
    assert (settings.inbox_dir / "unseen" / "manifest.json").exists()


@pytest.mark.drill
@pytest.mark.spark
def test_executors_that_do_not_see_the_inbox_quarantine_nothing(settings: Settings, cluster: Cluster) -> None:
    feed = deliver(settings.inbox_dir, "one", [upsert(1, "c", None)], "one")
    if subprocess.run(
        [*NAMESPACE, "mount", "-t", "tmpfs", "none", str(cluster.folder)], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine does not allow mounts in a namespace")
    cluster.add_worker(cores=1, blind=settings.inbox_dir)
    done = run(["-m", "recsim_tasks.cli.main", "ingest"], RECSIM_SPARK_MASTER=cluster.master)
    result = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, result["error_type"]) == (2, "configuration"), done.stderr[-3000:]
    assert "The Spark executors do not see the inbox" in result["error"]
    assert (feed / "manifest.json").exists()
    assert not (settings.home / "tables").exists()
