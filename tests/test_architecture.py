"""The rules of the house that neither ruff nor import-linter can see."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("plugins/**/*.py"), *ROOT.glob("dags/*.py")])
TASKS = [path for path in SOURCE if path.is_relative_to(ROOT / "src" / "recsim_tasks")]
HEAVY = {
    "tensorflow",
    "tensorflow_similarity",
    "horovod",
    "pyspark",
    "delta",
    "deltalake",
    "pandas",
    "numpy",
    "pyarrow",
    "mlflow",
    "faiss",
    "hyperopt",
    "matplotlib",
    "PIL",
}
# Runs before there is an environment to import the settings in.
READS_ENVIRONMENT = {
    "foundation/settings/environment.py",
    "foundation/settings/load.py",
    "foundation/settings/secrets.py",
    "foundation/prerequisites.py",
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(statement: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after `statement`."""
    code = f"import sys; {statement}; print(*{{module.partition('.')[0] for module in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_command_line_starts_without_anything_heavy() -> None:
    assert (
        imported("import recsim_tasks.cli.main")
        & (HEAVY | {"airflow", "recsim_airflow", "recsim_demo", "fastapi", "streamlit"})
        == set()
    )


@pytest.mark.parametrize(
    "module", [path.stem for path in sorted((ROOT / "src/recsim_tasks/foundation").glob("[a-z]*.py"))]
)
def test_the_foundation_stands_without_anything_heavy(module: str) -> None:
    assert imported(f"import recsim_tasks.foundation.{module}") & HEAVY == set()


def test_an_import_that_is_heavy_would_be_seen() -> None:
    assert "numpy" in imported("import recsim_tasks.cli.main, numpy")


def reads_of_environment(tree: ast.AST) -> list[int]:
    """Lines that read a variable: writing one, for a library that is imported next, is no reading."""
    written = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
    }
    written |= {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("setdefault", "update")
    }
    found = []
    for node in ast.walk(tree):
        environ = (
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "environb")
            and id(node) not in written
        )
        getenv = isinstance(node, ast.Attribute) and node.attr in ("getenv", "getenvb")
        named = (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and any(alias.name in ("environ", "getenv") for alias in node.names)
        )
        if environ or getenv or named:
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", TASKS, ids=name)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    if path.relative_to(ROOT / "src" / "recsim_tasks").as_posix() not in READS_ENVIRONMENT:
        assert reads_of_environment(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        "import os; os.environ['A']",
        "import os; os.getenv('A')",
        "from os import environ",
        "import os; dict(os.environ)",
        "import os; os.environ.get('A')",
    ],
)
def test_a_reading_of_the_environment_would_be_seen(line: str) -> None:
    assert reads_of_environment(ast.parse(line)) == [1]


@pytest.mark.parametrize(
    "line",
    [
        "import os; os.environ['A'] = '1'",
        "import os; os.environ.setdefault('A', '1')",
        "import os; os.environ.update(A='1')",
    ],
)
def test_a_writing_of_the_environment_is_no_reading(line: str) -> None:
    assert reads_of_environment(ast.parse(line)) == []


@pytest.mark.parametrize("path", SOURCE, ids=name)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert len(docstring.splitlines()[0]) > 20


def test_every_room_says_what_comes_in_what_goes_out_and_what_it_promises() -> None:
    for room in sorted((ROOT / "src" / "recsim_tasks").glob("*/__init__.py")):
        docstring = ast.get_docstring(ast.parse(room.read_text())) or ""
        assert re.search(r"Comes in:.*Goes out:.*Promises:", docstring, re.DOTALL), (
            f"{name(room)} does not say all three"
        )


def test_rooms_stand_in_their_order() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert layers == [
        "cli",
        "operations",
        "refresh | serving | shop",
        "release",
        "vectors",
        "learning",
        "catalogue",
        "foundation",
        "contracts | arrays",
    ]
    rooms = {path.parent.name for path in (ROOT / "src" / "recsim_tasks").glob("*/__init__.py")}
    assert rooms == {room for layer in layers for room in layer.split(" | ")} - {"contracts", "arrays"}


@pytest.mark.parametrize("path", SOURCE, ids=name)
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 450
