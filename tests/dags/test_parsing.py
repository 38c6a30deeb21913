"""What happens when Airflow reads the DAG files and the plugins folder, each time in a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).parents[2]
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
HEAVY = (
    "tensorflow",
    "tf_keras",
    "pyspark",
    "delta",
    "deltalake",
    "pandas",
    "numpy",
    "pyarrow",
    "mlflow",
    "faiss",
    "horovod",
    "hyperopt",
)


def fresh(text: str, tmp_path: Path) -> Any:
    """Run `text` in an interpreter of its own; returns its last line, parsed as JSON."""
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'plugins'}",
        "RECSIM_HOME": str(tmp_path / "home"),
    }
    ended = subprocess.run(
        [sys.executable, "-c", text], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_there_are_dags() -> None:
    assert [file.stem for file in DAG_FILES] == ["recsim_refresh", "recsim_rollback"]


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_parsing_a_dag_is_quick_and_imports_nothing_heavy_or_deprecated(file: Path, tmp_path: Path) -> None:
    text = f"""
import importlib.util, json, sys, time, warnings
import airflow.sdk
import airflow.triggers.base
from airflow.sdk import DAG, Asset, BaseOperator, BaseSensorOperator
warnings.simplefilter("error", DeprecationWarning)
before, began = set(sys.modules), time.process_time()
spec = importlib.util.spec_from_file_location("a_dag", {str(file)!r})
spec.loader.exec_module(importlib.util.module_from_spec(spec))
heavy = [name for name in {HEAVY!r} if name in sys.modules and name not in before]
print(json.dumps([time.process_time() - began, heavy]))
"""
    seconds, heavy = fresh(text, tmp_path)
    assert heavy == []
    assert seconds < 2


def test_every_dag_can_be_serialized_and_a_wrong_setting_is_a_readable_import_error(
    tmp_path: Path,
) -> None:
    text = f"""
import json, os
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
def read(): return DagBag({str(ROOT / "dags")!r}, bundle_path={str(ROOT / "dags")!r})
bag = read()
def stored(dag): return DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
again = {{name: stored(dag) for name, dag in bag.dags.items()}}
same = [name for name, dag in bag.dags.items() if sorted(again[name].task_dict) == sorted(dag.task_ids)]
os.environ["RECSIM_RANKS"] = "two"
wrong = [error.strip().splitlines()[-1] for error in read().import_errors.values()]
print(json.dumps([bag.import_errors, same, wrong]))
"""
    errors, same, wrong = fresh(text, tmp_path)
    assert errors == {}
    assert sorted(same) == ["recsim_refresh", "recsim_rollback"]
    assert len(wrong) == 1, "a rollback needs no setting: it can still be started"
    assert "Wrong setting: ranks" in wrong[0]


def test_exactly_one_plugin_loads_and_no_module_under_another_name(tmp_path: Path) -> None:
    text = f"""
import sys, json
from airflow import plugins_manager
plugins, errors = plugins_manager._get_plugins()
ours = [p.name for p in plugins if "PLUGINS_FOLDER" in str(p.source)]
files = {{name: getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items())}}
loaded = [name for name, file in files.items() if file.startswith({str(ROOT / "plugins")!r})]
stray = [name for name in loaded if name != "recsim_plugin" and not name.startswith("recsim_airflow")]
print(json.dumps({{"ours": ours, "errors": errors, "stray": stray}}))
"""
    assert fresh(text, tmp_path) == {"ours": ["recsim"], "errors": {}, "stray": []}
