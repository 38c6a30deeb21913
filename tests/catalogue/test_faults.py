"""Ingest is killed, for real and at chosen moments, and run again: the tables are as if it had run once."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from recsim_demo.dataset import FashionMnist
from recsim_demo.feeds import delete, deliver, upsert
from recsim_tasks.catalogue.ingest import ingest_feed
from recsim_tasks.foundation.settings import Settings, load_settings

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("shared_spark")]
WHEN = ("at", "released_at")
LONGEST = 300.0


def start(home: Path, feed: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "recsim_tasks.cli", "ingest", str(feed)]
    environment = os.environ | {"RECSIM_HOME": str(home)}
    log = (home / "stderr").open("a")
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)


def kill_when(home: Path, feed: Path, is_time: Callable[[], bool]) -> None:
    """Start an ingest and kill it, with its JVM, as soon as it is time."""
    process, give_up = start(home, feed), time.monotonic() + LONGEST
    while not is_time():
        assert process.poll() is None, f"the ingest ended first, with {process.returncode}"
        assert time.monotonic() < give_up
        time.sleep(0.0005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def files(home: Path, table: str, pattern: str) -> set[Path]:
    return set((home / "tables" / table).glob(pattern))


def more(home: Path, table: str, pattern: str) -> Callable[[], bool]:
    """Whether a table has a file that it had not when this was asked for."""
    before = files(home, table, pattern)
    return lambda: bool(files(home, table, pattern) - before)


def tables(home: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table with all columns, but for those that say when it was written."""
    found = {}
    for path in sorted((home / "tables").iterdir()):
        rows = pa.RecordBatchReader.from_stream(DeltaTable(str(path)).scan()).read_all().to_pylist()
        found[path.name] = sorted(({k: v for k, v in row.items() if k not in WHEN} for row in rows), key=repr)
    return found


def test_an_ingest_killed_at_any_moment_leaves_the_tables_as_if_it_ran_once(
    settings: Settings, tmp_path: Path, fashion_mnist: FashionMnist, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [upsert(n, f"c{n % 3}", fashion_mnist.train_images[n]) for n in range(40)]
    ingest_feed(settings, deliver(tmp_path, "one", [*rows[:20], {**rows[20], "image": b"bad"}], "one"))
    home, feed = (
        tmp_path / "killed",
        deliver(tmp_path, "two", [*rows[20:], {**rows[0], "price": 1.0}, {**rows[1], "image": b"bad"}, delete(2)], "two"),
    )
    shutil.copytree(settings.home, home)
    ingest_feed(settings, feed)
    expected = tables(settings.home)

    kill_when(home, feed, lambda: "rows: " in (home / "stderr").read_text())
    kill_when(home, feed, more(home, "quarantine", "_delta_log/*.json"))
    assert tables(home)["products"] != expected["products"]
    kill_when(home, feed, more(home, "products", "**/*.parquet"))
    random_kills(home, feed, pytestconfig.getoption("--kills"))

    both = [start(home, feed) for _ in range(2)]
    told = [json.loads(process.communicate()[0].splitlines()[-1]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(result["applied"] for result in told) <= 1
    assert tables(home) == expected

    third = deliver(tmp_path, "three", [{**rows[3], "price": 2.0}], "three")
    kill_when(home, third, more(home, "products", "_delta_log/*.json"))
    monkeypatch.setenv("RECSIM_HOME", str(home))
    assert ingest_feed(load_settings(), third)["applied"] is False
    ingest_feed(settings, third)
    assert tables(home) == tables(settings.home)


def random_kills(home: Path, feed: Path, count: int) -> None:
    """Kill further tries, begun anew each time from where the last one left the tables, anywhere within half a minute."""
    for _ in range(count):
        moment = time.monotonic() + random.uniform(0, 30)
        process = start(home, feed)
        while time.monotonic() < moment and process.poll() is None:
            time.sleep(0.001)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
