from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / ".ci" / "due_drills.py"
DRILLS = [f"tests/{folder}/test_drill.py" for folder in ("catalogue", "dags", "e2e", "learning", "vectors")]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("due_drills", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("day", range(3))
@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("src/recsim_tasks/vectors/index.py", "vectors"),
        ("tests/learning/training/test_train.py", "learning"),
        ("plugins/recsim_airflow/sensors.py", "dags"),
        ("dags/recsim_refresh.py", "dags"),
        ("src/recsim_local/stack.py", "e2e"),
    ],
)
def test_the_drills_of_a_changed_package_are_due_every_day(
    script: ModuleType, path: str, folder: str, day: int
) -> None:
    assert f"tests/{folder}/test_drill.py" in script.due(DRILLS, [path, "docs/plan.md"], day)


def test_each_of_the_others_is_due_within_three_days(script: ModuleType) -> None:
    changed = ["src/recsim_tasks/vectors/index.py", "README.md"]
    days = [set(script.due(DRILLS, changed, day)) for day in range(7, 10)]
    assert set.union(*days) == set(DRILLS)
    assert all(len(day) < len(DRILLS) for day in days)
    assert set.intersection(*days) == {"tests/vectors/test_drill.py"}


@pytest.mark.parametrize("path", ["uv.lock", "tests/conftest.py"])
def test_all_are_due_when_what_they_all_depend_on_has_changed(script: ModuleType, path: str) -> None:
    assert script.due(DRILLS, [path], 1) == DRILLS


def test_every_file_with_a_drill_is_found(script: ModuleType) -> None:
    found = script.all_drills()
    assert {"tests/catalogue/test_faults.py", "tests/benchmarks/test_serving.py"} <= set(found)
    assert "tests/ci/test_due_drills.py" not in found


def test_without_a_history_all_are_due(script: ModuleType, tmp_path: Path) -> None:
    copy = tmp_path / ".ci" / SCRIPT.name
    copy.parent.mkdir()
    copy.write_text(SCRIPT.read_text())
    for name in ("a", "b"):
        (tmp_path / "tests" / name).mkdir(parents=True)
        (tmp_path / "tests" / name / "test_it.py").write_text("@pytest.mark." + "drill\n")

    def printed() -> list[str]:
        command = [sys.executable, str(copy)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    both = ["tests/a/test_it.py", "tests/b/test_it.py"]
    assert printed() == both
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "tests/a"], check=True)
    subprocess.run([*git, "commit", "-qm", "Add a"], check=True)
    assert "tests/a/test_it.py" in printed()
