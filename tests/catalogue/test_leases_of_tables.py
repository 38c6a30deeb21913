"""Why every writer acquires the table's lease: without it Delta loses commits on a local path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from catalogue.delta_writer import WRITERS
from catalogue.delta_writer import __file__ as program

pytestmark = pytest.mark.spark
COMMITS = 200


@pytest.mark.drill
def test_two_writers_lose_commits_without_the_lease_and_none_with_it(tmp_path: Path) -> None:
    names = [f"writer{number}" for number in range(WRITERS)]
    writers = [
        subprocess.Popen([sys.executable, program, str(tmp_path), name, str(COMMITS)]) for name in names
    ]
    assert [writer.wait(timeout=300) for writer in writers] == [0] * WRITERS
    acknowledged = {f"{name} {number}" for name in names for number in range(COMMITS)}
    lost = {how: len(acknowledged - _lines(tmp_path / how)) for how in ("free", "leased")}
    print(
        f"Lost of {len(acknowledged)} acknowledged commits: {lost['free']} without the lease, "
        f"{lost['leased']} with it."
    )
    assert lost["leased"] == 0 < lost["free"]


def _lines(log: Path) -> set[str]:
    return {path.read_text().strip() for path in log.glob("*.json")}
