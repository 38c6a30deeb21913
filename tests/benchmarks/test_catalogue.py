from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOALS = {"P10", "P10_growth", "P11", "redelivery", "ingest_day_warm", "ingest_whole"}


@pytest.mark.spark
def test_a_small_run_measures_every_goal_and_draws(tmp_path: Path) -> None:
    picture = tmp_path / "bench.png"
    command = [sys.executable, "-m", "benchmarks.catalogue", "--small", "--folder", str(tmp_path), "--plot", str(picture)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    told = json.loads(done.stdout.splitlines()[-1])
    assert told.keys() >= GOALS
    assert all(line["value"] > 0 for line in told.values())
    assert all(told[name]["goal"] is not None for name in GOALS)
    assert picture.stat().st_size > 0
    assert list(tmp_path.iterdir()) == [picture]
