"""Print the files of the drills that CI runs: those of changed packages, and a third of the others.

A package has changed if a commit of the last day, counted from HEAD, touches it or its tests. Each day
it is another third. Without a history, as in a shallow clone, all drills are due.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DRILL = re.compile(r"\bmark\.(?:drill|bench)\b")
DAY = 86_400
THIRDS = 3
# Tests that are in a folder of another name than what they test.
TESTS = {
    "src/recsim_local": {"local", "e2e"},
    "src/recsim_demo": {"demo", "e2e"},
    "plugins": {"plugins", "dags"},
}
# What changes every package.
EVERYTHING = {"uv.lock", "pyproject.toml", "Makefile", "tests/conftest.py", "tests/short_plans.py"}


def due(drills: Iterable[str], changed: Iterable[str], day: int) -> list[str]:
    """The drills of changed packages, and those whose turn it is on `day`, a number of days.

    :param drills: files below `tests`, such as `tests/vectors/test_embedding.py`
    :param changed: paths of files, relative to the repository
    """
    ordered, changed = sorted(drills), set(changed)
    if changed & EVERYTHING:
        return ordered
    folders = set[str]().union(*map(tested_in, changed))
    others = [drill for drill in ordered if not folders & tested_in(drill)]
    turn = others[day % THIRDS :: THIRDS]
    return [drill for drill in ordered if drill not in others or drill in turn]


def tested_in(path: str) -> set[str]:
    """The folders of `tests` that test a file; `{'vectors'}` for `src/recsim_tasks/vectors/index.py`."""
    parts = path.split("/")
    if path.startswith("src/recsim_tasks/"):
        return {parts[2]}
    if parts[0] == "tests":
        return {parts[1]}
    return next((to for folder, to in TESTS.items() if path.startswith(f"{folder}/")), {parts[0]})


def all_drills() -> list[str]:
    """The files with drills or benchmarks."""
    return [
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.glob("tests/**/test_*.py"))
        if DRILL.search(path.read_text())
    ]


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    """Print the files in one line."""
    drills = all_drills()
    try:
        now = int(_git("log", "-1", "--format=%ct"))
        changed = _git("log", f"--since={now - DAY}", "--name-only", "--format=").split("\n")
    except (OSError, subprocess.CalledProcessError):
        print(*drills)
    else:
        print(*due(drills, filter(None, changed), now // DAY))


if __name__ == "__main__":
    main()
