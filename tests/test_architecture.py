"""Rules that neither ruff nor import-linter can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
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
# Where the tests of each source folder are.
TESTS_OF = {
    "src/recsim_tasks": "tests",
    "plugins/recsim_airflow": "tests/plugins",
    "src/recsim_local": "tests/local",
    "src/recsim_demo": "tests/demo",
}
# Modules without a test file of their own, and why.
CONSTANTS = "has no code, only types or fields with defaults"
COMMANDS = "tests/cli/test_runner runs its commands as processes, test_main checks their help"
TESTED_ELSEWHERE = {
    "src/recsim_tasks/arrays.py": CONSTANTS,
    "src/recsim_tasks/foundation/errors.py": CONSTANTS,
    "src/recsim_tasks/foundation/limits.py": CONSTANTS,
    "src/recsim_tasks/foundation/settings/gate_settings.py": CONSTANTS,
    "src/recsim_tasks/foundation/settings/guard_settings.py": CONSTANTS,
    "src/recsim_tasks/foundation/settings/learning_settings.py": CONSTANTS,
    "src/recsim_tasks/foundation/settings/plan_settings.py": CONSTANTS,
    "src/recsim_tasks/foundation/settings/serving_settings.py": CONSTANTS,
    "src/recsim_tasks/foundation/settings/vector_settings.py": CONSTANTS,
    "src/recsim_tasks/cli/catalogue.py": COMMANDS,
    "src/recsim_tasks/cli/options.py": COMMANDS,
    "src/recsim_tasks/cli/refresh.py": COMMANDS,
    "src/recsim_tasks/cli/releases.py": COMMANDS,
    "src/recsim_tasks/cli/servers.py": COMMANDS,
    "src/recsim_tasks/catalogue/feeds/merge.py": "a merge is a whole ingest: test_ingest, test_other_writers",
    "src/recsim_tasks/learning/evaluation/report.py": "needs a trained encoder and MLflow: test_train",
    "src/recsim_tasks/learning/training/communicator.py": "needs ranks: test_distributed, test_train",
    "src/recsim_tasks/learning/training/trainer.py": "its steps are those of test_loop",
    "src/recsim_tasks/learning/training/training_data.py": "test_loop and data/test_dataset",
    "src/recsim_tasks/refresh/candidate.py": "test_step_inputs, test_evaluate",
    "src/recsim_tasks/refresh/catalogue_images.py": "test_evaluate, test_release_steps",
    "src/recsim_tasks/release/evaluation/queries.py": "test_measure",
    "src/recsim_tasks/release/gate/comparison_rules.py": "test_judge judges by every rule",
    "src/recsim_tasks/release/gate/metric_losses.py": "test_judge judges by every rule",
    "src/recsim_tasks/release/gate/rules.py": "test_judge judges by every rule",
    "src/recsim_tasks/release/registry/deduplication.py": "test_registration compares what is stored",
    "src/recsim_tasks/release/registry/pyfunc_model.py": "MLflow stores and loads it: test_mlflow_model",
    "src/recsim_tasks/release/registry/stages.py": "test_promotion, test_client",
    "src/recsim_tasks/serving/champion_follower.py": "test_hot_swap follows real promotions",
    "src/recsim_tasks/vectors/unembeddable.py": "needs Spark: test_embedding",
    "src/recsim_local/up.py": "tests/e2e runs it: test_up, test_kill",
    "src/recsim_demo/airflow_pages.py": "tests/e2e/test_screenshots takes these pages",
    "src/recsim_demo/client_pages.py": "tests/e2e/test_screenshots takes these pages",
    "src/recsim_demo/demo.py": "is `make demo`; tests/e2e follows the same three feeds",
    "src/recsim_demo/sheet.py": "tests/e2e/test_queries draws it",
}
# "Say who does what": these words hide it, or have a term in the glossary.
# `make pictures` is the name of a command.
OLD_WORDS = r"(?i)\b(?:told|whoever|somebody|nobody|anew|(?<!make )pictures?|rooms?)\b"


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
    found: list[int] = []
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
        if isinstance(node, ast.Attribute | ast.ImportFrom) and (environ or getenv or named):
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


def test_every_package_says_its_input_output_and_guarantees() -> None:
    for package in sorted((ROOT / "src" / "recsim_tasks").glob("*/__init__.py")):
        docstring = ast.get_docstring(ast.parse(package.read_text())) or ""
        if package.parent.name != "contracts":
            assert re.search(r"Input:.*Output:.*Guarantees:", docstring, re.DOTALL), name(package)


def test_packages_are_in_the_order_of_the_data() -> None:
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
    packages = {path.parent.name for path in (ROOT / "src" / "recsim_tasks").glob("*/__init__.py")}
    assert packages == {package for layer in layers for package in layer.split(" | ")} - {"arrays"}


@pytest.mark.parametrize("path", SOURCE, ids=name)
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_no_two_modules_have_the_same_name() -> None:
    stems = Counter(path.stem for path in SOURCE if path.stem != "__init__")
    assert [stem for stem, count in stems.items() if count > 1] == []


def test_each_module_has_its_tests_or_a_reason_why_not() -> None:
    modules = {
        (path, ROOT / tests / path.relative_to(ROOT / source).parent / f"test_{path.name}")
        for source, tests in TESTS_OF.items()
        for path in (ROOT / source).glob("**/*.py")
        if path.stem != "__init__"
    }
    untested = {name(path) for path, tests in modules if not tests.exists()}
    assert untested == set(TESTED_ELSEWHERE)


@pytest.mark.parametrize("path", SOURCE, ids=name)
def test_the_words_are_those_of_the_glossary(path: Path) -> None:
    assert re.findall(OLD_WORDS, path.read_text()) == []


def test_json_of_others_has_few_doors() -> None:
    lines = [line for path in SOURCE for line in path.read_text().splitlines() if "dict[str, Any]" in line]
    assert len(lines) < 30
