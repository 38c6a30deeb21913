from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.mark.bench
@pytest.mark.ml
def test_a_small_run_measures_every_goal_on_both_servers(tmp_path: Path) -> None:
    options = [
        "--products",
        "400",
        "--seconds",
        "1",
        "--rounds",
        "1",
        "--workers",
        "1",
        "--plot",
        str(tmp_path / "bench.png"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert {"P8_1", "P8_8", "P8_32", "P8_ready", "P8_memory", "P9", "P16", "swap", "stored"} <= set(found)
    assert all(line["value"] > 0 for line in found.values())
    assert found["stored"]["value"] < 1
    assert min(Image.open(tmp_path / "bench.png").size) > 300
