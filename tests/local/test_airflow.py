from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recsim_tasks.contracts import EmbedResult

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).parents[2]

TINY_DAG = """
from airflow.sdk import DAG
from recsim_airflow.assets import feed_inbox
from recsim_airflow.operators import RecsimJobOperator
from recsim_tasks.foundation.settings import load_settings

with DAG("tiny", schedule=[feed_inbox(load_settings())], catchup=False, default_args={"retries": 0}):
    RecsimJobOperator(task_id="take", job="embed", command=TAKE)
    RecsimJobOperator(task_id="linger", job="embed", command=LINGER)
"""
TAKE = f"""
import pathlib, shutil
for feed in pathlib.Path(INBOX).glob("*"):
    shutil.rmtree(feed)
print({EmbedResult(embedded=1, reused=0, of=1, unembeddable=0).model_dump_json()!r})
"""
LINGER = "import time; time.sleep(600)"
DEMO = """
import json, sys, time
from pathlib import Path
from recsim_local.airflow import PrivateAirflow
root, plugins, inbox = map(Path, sys.argv[1:])
import os
with PrivateAirflow(root / "airflow", root / "dags", plugins) as airflow:
    (inbox / "feed-1").mkdir()
    (inbox / "feed-1" / "manifest.json").write_text("{}")
    run_id = airflow.wait_for_run("tiny", after=0, timeout=180)
    states = {}
    ready = {"take": "success", "linger": "running"}
    while states != ready or not (root / "lingers").exists():
        states = {task["task_id"]: task["state"] for task in airflow.task_instances("tiny", run_id)}
        time.sleep(0.5)
    print(json.dumps({"xcom": airflow.xcom("tiny", run_id, "take"), "run_id": run_id}), flush=True)
    time.sleep(600)
"""


def script(path: Path, text: str, **names: Path) -> None:
    path.write_text(
        f"#!{sys.executable}\n"
        + "".join(f"{name} = {str(value)!r}\n" for name, value in names.items())
        + text
    )
    path.chmod(0o755)


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.drill
def test_a_feed_starts_a_run_and_a_killed_demo_leaves_no_process(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (tmp_path / "dags").mkdir()
    script(tmp_path / "take", TAKE, INBOX=inbox)
    script(
        tmp_path / "linger", f"import pathlib; pathlib.Path({str(tmp_path / 'lingers')!r}).touch()\n" + LINGER
    )
    script(tmp_path / "dags" / "tiny.py", TINY_DAG, TAKE=tmp_path / "take", LINGER=tmp_path / "linger")
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}", "RECSIM_INBOX": str(inbox)}
    demo = subprocess.Popen(
        [sys.executable, "-c", DEMO, str(tmp_path), str(ROOT / "plugins"), str(inbox)],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    try:
        report = json.loads(demo.stdout.readline())
        assert report["run_id"].startswith("asset_triggered__")
        assert report["xcom"]["embedded"] == 1
        family = [process for process in psutil.Process(demo.pid).children(recursive=True) if alive(process)]
        commands = [" ".join(process.cmdline()) for process in family]
        assert any(str(tmp_path / "linger") in command for command in commands)
        listening = {
            connection.laddr.ip
            for process in family
            for connection in process.net_connections("tcp")
            if connection.status == "LISTEN"
        }
        assert listening == {"127.0.0.1"}
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()
    deadline = time.monotonic() + 15
    while any(map(alive, family)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not list(filter(alive, family))
