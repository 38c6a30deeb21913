from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from process_states import ended
from recsim_local.airflow import PrivateAirflow
from recsim_local.airflow_api import FINISHED

# Importing Airflow writes a configuration file into its home: not into the developer's.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="recsim-airflow-home-")

ROOT = Path(__file__).parents[2]
DAG = "recsim_refresh"


@dataclass(frozen=True)
class Deployment:
    """An Airflow with the project's DAGs, and the home that the jobs work in."""

    airflow: PrivateAirflow
    home: Path

    @property
    def inbox(self) -> Path:
        return self.home / "inbox"

    @property
    def champion(self) -> dict[str, Any]:
        return dict(json.loads((self.home / "champion.json").read_text()))

    def override(self, **jobs: dict[str, Any]) -> None:
        """Override what the stand-in does, by job; without arguments, end all overrides."""
        (self.home / "overrides.json").write_text(json.dumps(jobs))

    def commands(self) -> list[str]:
        return (self.home / "commands.log").read_text().splitlines()

    def land(self, feed_id: str, **manifest: Any) -> Path:
        """Deliver a feed, closed by its manifest."""
        feed = self.inbox / feed_id
        feed.mkdir()
        (feed / "manifest.json").write_text(json.dumps({"feed_id": feed_id, "rows": 1, **manifest}))
        return feed

    def table(self) -> list[str]:
        """The ids of the feeds in the catalogue."""
        import pyarrow as pa
        from deltalake import DeltaTable

        rows = pa.RecordBatchReader.from_stream(
            DeltaTable(str(self.home / "tables" / "products")).scan()
        ).read_all()
        return sorted(rows.column("id").to_pylist())

    def head(self) -> dict[str, Any]:
        from deltalake import DeltaTable

        table = DeltaTable(str(self.home / "tables" / "products"))
        return {"table_id": str(table.metadata().id), "version": table.version()}

    def run(self, conf: dict[str, Any] | None = None) -> tuple[str, dict[str, str | None], str]:
        """Run a refresh; its state, the state of each task, its id."""
        return self.end(self.airflow.trigger(DAG, conf))

    def next_run(self, after: int) -> tuple[str, dict[str, str | None], str]:
        """Wait for the end of the run that follows the first `after` runs."""
        return self.end(self.airflow.wait_for_run(DAG, after, timeout=180))

    def end(self, run_id: str) -> tuple[str, dict[str, str | None], str]:
        state = self.airflow.wait(DAG, run_id, timeout=180)["state"]
        return state, self.states(run_id), run_id

    def states(self, run_id: str) -> dict[str, str | None]:
        return {task["task_id"]: task["state"] for task in self.airflow.task_instances(DAG, run_id)}

    def wait_for_question(self, run_id: str, task_id: str) -> None:
        """Wait until the task waits for a person, and the scheduler knows that its worker has ended.

        Airflow 3.3.2 takes the end of the worker that asked for that of the answered task, if the answer
        comes first: it fails the task, and asks again.
        """

        def is_asked() -> bool:
            (task,) = (
                task for task in self.airflow.task_instances(DAG, run_id) if task["task_id"] == task_id
            )
            return task["state"] == "awaiting_input" and any(
                f"ti_id={task['id']}," in line and " state=awaiting_input," in line
                for line in self.airflow.log_file("scheduler").read_text().splitlines()
                if "TaskInstance Finished: " in line
            )

        self.until(is_asked)

    def respond(self, run_id: str, task_id: str, option: str) -> None:
        """Answer the question of a task, and wait until the task has ended."""
        self.wait_for_question(run_id, task_id)
        self.airflow.respond(DAG, run_id, task_id, option)
        self.until(lambda: self.states(run_id)[task_id] in FINISHED)

    def clear(self, run_id: str, *tasks: str) -> None:
        """Clear tasks and their downstream tasks, as a person does in the UI."""
        body = {
            "dag_run_id": run_id,
            "task_ids": list(tasks),
            "dry_run": False,
            "only_failed": False,
            "include_downstream": True,
        }
        self.airflow._call("POST", f"/dags/{DAG}/clearTaskInstances", body)

    def runs(self) -> int:
        return len(self.airflow.runs(DAG))

    def idle(self) -> None:
        """Wait until every run has ended."""
        self.until(lambda: all(run["state"] in FINISHED for run in self.airflow.runs(DAG)), 180)

    def releases(self) -> list[str]:
        """The refreshes that registered a release."""
        path = self.home / "releases.json"
        return list(json.loads(path.read_text())) if path.exists() else []

    def until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.5)


@pytest.fixture(scope="package")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One Airflow for all tests of the DAGs: starting it takes as long as three refreshes."""
    import pyarrow as pa
    from deltalake import CommitProperties, write_deltalake

    root = tmp_path_factory.mktemp("deployment")
    home, command = root / "home", root / "recsim"
    (home / "inbox").mkdir(parents=True)
    (home / "overrides.json").write_text("{}")
    (home / "commands.log").touch()
    of_a_refresh = CommitProperties(custom_metadata={"userMetadata": json.dumps({"refresh": "the first"})})
    properties = {"delta.enableChangeDataFeed": "true"}
    write_deltalake(
        str(home / "tables" / "products"),
        pa.table({"id": ["a"]}),
        configuration=properties,
        commit_properties=of_a_refresh,
    )
    command.write_text(f"#!{sys.executable}\n" + (Path(__file__).parent / "stand_in.py").read_text())
    command.chmod(0o755)
    env = {
        "RECSIM_HOME": str(home),
        "AIRFLOW__RECSIM__COMMAND": str(command),
        # After this long a new triggerer takes over from a killed one, seconds.
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    }
    earlier = psutil.Process().children(recursive=True)  # such as the JVM of tests that ran before
    with PrivateAirflow(root / "airflow", ROOT / "dags", ROOT / "plugins", env) as airflow:
        family = set(psutil.Process().children(recursive=True)).difference(earlier)
        assert family
        yield Deployment(airflow, home)
    assert [process for process in family if not ended(process.pid)] == []
