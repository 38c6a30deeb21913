from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import ConfigurationError, UnavailableError
from recsim_tasks.foundation.leases import lease

TIMES = 60
# Reads a number, thinks a moment, writes the next one, as a merge does with a table; both begin together.
COUNTER = f"""
import os, sys, time
from contextlib import nullcontext
from pathlib import Path
from recsim_tasks.foundation.leases import lease
home = Path(sys.argv[1])
counter = home / "counter"
(home / f"ready-{{os.getpid()}}").touch()
while len(list(home.glob("ready-*"))) < 2:
    time.sleep(0.001)
for _ in range({TIMES}):
    with LEASE:
        number = int(counter.read_text())
        time.sleep(0.001)
        counter.write_text(str(number + 1))
"""
HOLDER = """
import sys, time
from pathlib import Path
from recsim_tasks.foundation.leases import lease
with lease(Path(sys.argv[1]), "table"):
    print("acquired", flush=True)
    time.sleep(60)
"""


def count_with_two(home: Path, way: str) -> int:
    (home / "counter").write_text("0")
    command = [sys.executable, "-c", COUNTER.replace("LEASE", way), str(home)]
    writers = [subprocess.Popen(command) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0] or way != "lease(home, 'table')"
    return int((home / "counter").read_text() or 0)


def test_two_writers_with_the_lease_lose_nothing(tmp_path: Path) -> None:
    assert count_with_two(tmp_path, "lease(home, 'table')") == 2 * TIMES


def test_two_writers_without_the_lease_lose_some(tmp_path: Path) -> None:
    assert count_with_two(tmp_path, "nullcontext()") < 2 * TIMES


def test_a_lease_in_use_is_an_outage_with_its_owner_and_a_killed_owner_frees_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        with (
            pytest.raises(UnavailableError, match=f"table is in use: process {holder.pid} "),
            lease(tmp_path, "table", timeout=0.2),
        ):
            pass
        with lease(tmp_path, "another table", timeout=0.2):
            pass
        holder.kill()
        holder.wait(10)
        started = time.monotonic()
        with lease(tmp_path, "table", timeout=60):
            assert time.monotonic() - started < 12


def test_an_error_inside_frees_the_lease(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lease(tmp_path, "table"):
        raise ZeroDivisionError
    with lease(tmp_path, "table", timeout=0.2):
        pass


def test_a_folder_or_file_in_the_place_of_a_lease_is_named(tmp_path: Path) -> None:
    with lease(tmp_path, "table"):
        (path,) = (tmp_path / "leases").iterdir()
    path.unlink()
    path.mkdir()
    with (
        pytest.raises(ConfigurationError, match=rf"{path} of table cannot be acquired.*Move away"),
        lease(tmp_path, "table", timeout=1),
    ):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="RECSIM_HOME"), lease(tmp_path / "file", "table", timeout=1):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "leases").touch()
    with pytest.raises(ConfigurationError, match="Move away"), lease(tmp_path / "other", "table", timeout=1):
        pass


@pytest.mark.parametrize("left", ["", "[1]", "{}", '{"pid": "x", "host": 1}', "\0\0", "[" * 100_000])
def test_a_lease_file_with_anything_in_it_is_taken_and_waited_for(tmp_path: Path, left: str) -> None:
    with lease(tmp_path, "table"):
        (path,) = (tmp_path / "leases").iterdir()
        path.write_text(left)
        with (
            pytest.raises(UnavailableError, match="another process has held its lease"),
            lease(tmp_path, "table", timeout=0.05),
        ):
            pass
    path.write_text(left)
    with lease(tmp_path, "table", timeout=1):
        pass
