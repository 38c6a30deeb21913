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
    """Run `text` in an interpreter of its own; what its last line says, as JSON."""
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
def test_reading_a_dag_is_quick_imports_nothing_heavy_and_uses_nothing_that_airflow_will_drop(
    file: Path, tmp_path: Path
) -> None:
    text = f"""
import importlib.util, json, sys, time, warnings
import airflow.sdk
import airflow.triggers.base
from airflow.sdk import DAG, Asset, BaseOperator, BaseSensorOperator
warnings.simplefilter("error", DeprecationWarning)
before, began = set(sys.modules), time.process_time()
spec = importlib.util.spec_from_file_location("a_dag", {str(file)!r})
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(json.dumps([time.process_time() - began, [m for m in {HEAVY!r} if m in sys.modules and m not in before]]))
"""
    seconds, heavy = fresh(text, tmp_path)
    assert heavy == []
    assert seconds < 2


def test_every_dag_can_be_stored_and_read_back_and_a_wrong_setting_is_a_readable_import_error(
    tmp_path: Path,
) -> None:
    text = f"""
import json, os
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
def read(): return DagBag({str(ROOT / "dags")!r}, bundle_path={str(ROOT / "dags")!r})
bag = read()
again = {{name: DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag)))) for name, dag in bag.dags.items()}}
same = [name for name, dag in bag.dags.items() if sorted(again[name].task_dict) == sorted(dag.task_ids)]
os.environ["RECSIM_RANKS"] = "two"
wrong = [error.strip().splitlines()[-1] for error in read().import_errors.values()]
print(json.dumps([bag.import_errors, same, wrong]))
"""
    errors, same, wrong = fresh(text, tmp_path)
    assert errors == {}
    assert sorted(same) == ["recsim_refresh", "recsim_rollback"]
    assert len(wrong) == 1, "a rollback needs none of the settings: it can be started all the same"
    assert "Wrong setting: ranks" in wrong[0]


def test_exactly_one_plugin_loads_and_no_module_under_a_stray_name(tmp_path: Path) -> None:
    text = f"""
import sys, json
from airflow import plugins_manager
plugins, errors = plugins_manager._get_plugins()
ours = [p.name for p in plugins if "PLUGINS_FOLDER" in str(p.source)]
stray = [name for name, m in list(sys.modules.items()) if (getattr(m, "__file__", None) or "").startswith({str(ROOT / "plugins")!r})]
print(json.dumps({{"ours": ours, "errors": errors, "stray": [n for n in stray if n != "recsim_plugin" and not n.startswith("recsim_airflow")]}}))
"""
    assert fresh(text, tmp_path) == {"ours": ["recsim"], "errors": {}, "stray": []}
