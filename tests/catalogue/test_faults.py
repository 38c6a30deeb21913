"""Ingest is really killed, at chosen moments, and run again: the tables are as if it had run once."""

from __future__ import annotations

import base64
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from delta import DeltaTable as DeltaTables
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import delete, deliver, upsert
from recsim_tasks.catalogue.feeds.ingest import ingest_feed
from recsim_tasks.foundation.settings import Settings

pytestmark = [pytest.mark.drill, pytest.mark.spark, pytest.mark.usefixtures("shared_spark")]
WHEN = ("at", "released_at")
LONGEST = 600.0


def start(home: Path, feed: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "recsim_tasks.cli.main", "ingest", str(feed)]
    environment = os.environ | {"RECSIM_HOME": str(home)}
    log = (home / "stderr").open("a")
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
    )


def wait_until(is_time: Callable[[], bool], *processes: subprocess.Popen[str]) -> None:
    """Look every few milliseconds; `processes` must not end before."""
    give_up = time.monotonic() + LONGEST
    while not is_time():
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < give_up
        time.sleep(0.003)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill it with its JVM and Spark's workers, without any cleanup."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def has_commit(log: Path) -> bool:
    return any(log.glob("0*.json"))


def kill_when(home: Path, feed: Path, is_time: Callable[[], bool]) -> None:
    """Start an ingest and kill it as soon as the condition is true."""
    process = start(home, feed)
    wait_until(is_time, process)
    kill(process)


def on_a_full_disk(home: Path, feed: Path) -> str:
    """The output of an ingest whose files must not grow from the moment when it starts to write."""
    process = start(home, feed)
    wait_until(lambda: "rows: " in (home / "stderr").read_text(), process)
    for child in psutil.Process(process.pid).children(recursive=True):
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (4096, 4096))
    return process.communicate(timeout=LONGEST)[0]


def more(home: Path, table: str, ending: str) -> Callable[[], bool]:
    """A condition: the table has a file that it does not have now."""
    folder = home / "tables" / table
    before = set(folder.iterdir())
    return lambda: any(path.suffix == ending for path in set(folder.iterdir()) - before)


def holder(home: Path, table: str) -> int:
    """The process that has the table's lease, according to its file."""
    owners = [json.loads(path.read_text()) for path in (home / "leases").glob("*.lock")]
    return int(next(owner["pid"] for owner in owners if owner["resource"] == str(home / "tables" / table)))


def tables(home: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, without the columns of write times."""
    contents = {}
    for path in sorted((home / "tables").iterdir()):
        rows = pa.RecordBatchReader.from_stream(DeltaTable(str(path)).scan()).read_all().to_pylist()
        contents[path.name] = sorted(
            ({k: v for k, v in row.items() if k not in WHEN} for row in rows), key=repr
        )
    return contents


def test_an_ingest_killed_at_any_moment_has_the_effect_of_one_run(
    settings: Settings, tmp_path: Path, fashion_mnist: FashionMnist, pytestconfig: pytest.Config
) -> None:
    rows = [upsert(n, f"c{n % 3}", fashion_mnist.train_images[n]) for n in range(40)]
    ingest_feed(settings, deliver(tmp_path, "one", [*rows[:20], {**rows[20], "image": b"bad"}], "one"))
    home, feed = (
        tmp_path / "killed",
        deliver(
            tmp_path,
            "two",
            [*rows[20:], {**rows[0], "price": 1.0}, {**rows[1], "image": b"bad"}, delete(2)],
            "two",
        ),
    )
    shutil.copytree(settings.home, home)
    ingest_feed(settings, feed)
    before, expected = tables(home), tables(settings.home)

    result = json.loads(on_a_full_disk(home, feed).splitlines()[-1])
    assert result["exit_code"] == 1
    assert "File too large" in result["error"]
    assert tables(home)["products"] == before["products"]
    kill_when(home, feed, more(home, "quarantine/_delta_log", ".json"))
    assert tables(home)["products"] != expected["products"]
    kill_when(home, feed, more(home, "products", ".parquet"))
    assert tables(home)["products"] != expected["products"]
    random_kills(home, feed, pytestconfig.getoption("--kills"))

    committed = more(home, "products/_delta_log", ".json")
    both = {process.pid: process for process in (start(home, feed), start(home, feed))}
    wait_until(committed, *both.values())
    kill(both.pop(holder(home, "products")))
    (other,) = both.values()
    result = json.loads(other.communicate(timeout=LONGEST)[0].splitlines()[-1])
    assert (other.returncode, result["applied"]) == (0, False)
    assert tables(home) == expected


def test_an_ingest_killed_while_creating_tables_does_not_block_later_ones(
    settings: Settings, tmp_path: Path, fashion_mnist: FashionMnist
) -> None:
    rows = [upsert(n, f"c{n % 3}", fashion_mnist.train_images[n]) for n in range(3)]
    lines = [{**row, "image": base64.b64encode(row["image"] or b"").decode()} for row in rows]
    lines += [
        {**lines[0], "product_id": "bad", "image": "none"},
        {"product_id": "gone", "op": "delete", "updated_at": "2026-01-01"},
    ]
    feed = tmp_path / "one"
    feed.mkdir()
    (feed / "products.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (feed / "manifest.json").write_text(json.dumps({"feed_id": "one", "rows": len(lines)}))
    ingest_feed(settings, feed)
    expected, home, left = tables(settings.home), tmp_path / "killed", set[bool]()
    home.mkdir()
    for table, moment in (("products", "log"), ("products", "commit"), ("quarantine", "log")):
        shutil.rmtree(home / "tables" / table, ignore_errors=True)
        log = home / "tables" / table / "_delta_log"
        kill_when(home, feed, log.is_dir if moment == "log" else partial(has_commit, log))
        left.add(has_commit(log))
    assert left == {False, True}
    for table in ("products", "quarantine", "withdrawals"):
        shutil.rmtree(home / "tables" / table, ignore_errors=True)
        (home / "tables" / table / "_delta_log").mkdir(parents=True)
    # The control: Delta itself creates no table over the remains of a killed creation.
    with pytest.raises(Exception, match="DELTA"):
        DeltaTables.createIfNotExists(SparkSession.active()).location(
            str(home / "tables" / "products")
        ).addColumn("a", "int").execute()
    result = json.loads(start(home, feed).communicate(timeout=LONGEST)[0].splitlines()[-1])
    assert result["applied"] is True
    assert tables(home) == expected


def random_kills(home: Path, feed: Path, count: int) -> None:
    """Kill further tries at random moments within 30 s, each continuing from the tables that the last one
    left.
    """
    for _ in range(count):
        moment = time.monotonic() + random.uniform(0, 30)
        process = start(home, feed)
        while time.monotonic() < moment and process.poll() is None:
            time.sleep(0.001)
        if process.poll() is None:
            kill(process)
