"""The refresh through a real scheduler, triggerer and dag-processor; a stand-in does the jobs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from recsim_demo.private_airflow import PrivateAirflow

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).parents[2]
DAG = "recsim_refresh"


@dataclass(frozen=True)
class Shop:
    """An Airflow with the project's DAGs, and the home that the jobs work in."""

    airflow: PrivateAirflow
    home: Path

    def order(self, **orders: dict[str, Any]) -> None:
        (self.home / "orders.json").write_text(json.dumps(orders))

    def commands(self) -> list[str]:
        return (self.home / "commands.log").read_text().splitlines()

    def run(self, conf: dict[str, Any] | None = None) -> tuple[str, dict[str, str], str]:
        """Run a refresh; its state, the state of each task, its id."""
        run_id = self.airflow.trigger(DAG, conf)
        return self.end(run_id)

    def end(self, run_id: str) -> tuple[str, dict[str, str], str]:
        state = self.airflow.wait(DAG, run_id, timeout=180)["state"]
        return state, {task["task_id"]: task["state"] for task in self.airflow.task_instances(DAG, run_id)}, run_id


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    import pyarrow as pa
    from deltalake import write_deltalake

    root = tmp_path_factory.mktemp("shop")
    home, command = root / "home", root / "recsim"
    (home / "inbox").mkdir(parents=True)
    (home / "orders.json").write_text("{}")
    write_deltalake(str(home / "tables" / "products"), pa.table({"id": ["a"]}), configuration={"delta.enableChangeDataFeed": "true"})
    command.write_text(f"#!{sys.executable}\n" + (Path(__file__).parent / "stand_in.py").read_text())
    command.chmod(0o755)
    env = {"RECSIM_HOME": str(home), "AIRFLOW__RECSIM__COMMAND": str(command)}
    others = psutil.Process().children(recursive=True)  # such as the JVM of tests that ran before
    with PrivateAirflow(root / "airflow", ROOT / "dags", ROOT / "plugins", env) as airflow:
        family = set(psutil.Process().children(recursive=True)).difference(others)
        assert family
        yield Shop(airflow, home)
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def skipped(states: dict[str, str]) -> set[str]:
    return {task.split(".")[0] for task, state in states.items() if state == "skipped"}


def test_a_landed_feed_starts_a_refresh_by_itself(shop: Shop) -> None:
    before = len(shop.airflow.runs(DAG))
    feed = shop.home / "inbox" / "feed-1"
    feed.mkdir()
    time.sleep(3)
    assert len(shop.airflow.runs(DAG)) == before, "a feed without its manifest is still being written"
    (feed / "manifest.json").write_text("{}")
    state, states, run_id = shop.end(shop.airflow.wait_for_run(DAG, before, timeout=60))
    assert run_id.startswith("asset_triggered__")
    assert state == "success"
    assert skipped(states) == {"up_to_date", "rebuild", "retrain"}
    assert shop.airflow.xcom(DAG, run_id, "append.embed") == {"embedded": 3, "reused": 0, "of": 3}
    assert shop.airflow.xcom(DAG, run_id, "append.embed", "reason") == "embedded 3 of 3, reused 0"
    assert [line.split(" as ")[0] for line in shop.commands()] == [
        *("ingest", "plan --mode auto", "embed", "index append", "evaluate", "register", "promote --version 7", "verify --version 7")
    ]
    reasons = {task["task_id"]: task["rendered_map_index"] for task in shop.airflow.task_instances(DAG, run_id)}
    assert reasons["plan"] == reasons["decide"] == "append: 3 products changed."
    assert reasons["await_catalogue"].endswith("is at version 0; 0 was asked for.")


def test_nothing_changed_is_a_success_that_does_nothing(shop: Shop) -> None:
    shop.order(plan={"result": {"decision": "skip", "reasons": ["No product changed."]}})
    state, states, _ = shop.run()
    assert state == "success"
    assert {task for task, its in states.items() if its == "success"} == {"ingest", "await_catalogue", "plan", "decide", "up_to_date"}
    assert skipped(states) == {"append", "rebuild", "retrain", "evaluate", "register", "promote", "verify"}


def test_a_retrain_goes_through_the_gpu_pool_with_the_trials_of_the_form(shop: Shop) -> None:
    shop.order(plan={"result": {"decision": "retrain", "reasons": ["Mode retrain was asked for."]}})
    state, states, run_id = shop.run({"mode": "retrain", "trials": 9})
    assert state == "success"
    assert skipped(states) == {"up_to_date", "append", "rebuild"}
    said = [line.split(" as ")[0] for line in shop.commands()]
    assert "plan --mode retrain" in said
    assert "tune --trials 9" in said
    pools = {task["task_id"]: task["pool"] for task in shop.airflow.task_instances(DAG, run_id)}
    assert pools["retrain.tune"] == pools["retrain.train"] == "gpu_pool"


def test_a_held_release_is_red_says_why_and_goes_no_further(shop: Shop) -> None:
    held = {"verdict": "hold", "reasons": ["Precision fell."], "error": "Precision fell.", "exit_code": 3}
    shop.order(evaluate={"exit_code": 3, "result": held})
    state, states, run_id = shop.run()
    assert state == "failed"
    assert states["evaluate"] == "failed"
    assert {states[task] for task in ("register", "promote", "verify")} == {"upstream_failed"}
    assert shop.airflow.xcom(DAG, run_id, "evaluate", "reason") == "Held: Precision fell."
    assert shop.airflow.xcom(DAG, run_id, "evaluate")["verdict"] == "hold"
    (evaluate,) = (task for task in shop.airflow.task_instances(DAG, run_id) if task["task_id"] == "evaluate")
    assert evaluate["try_number"] == 1


def test_a_misspelt_run_setting_is_refused_before_anything_is_done(shop: Shop) -> None:
    before = shop.commands()
    state, states, run_id = shop.run({"trails": 9})
    assert (state, states["ingest"]) == ("failed", "failed")
    assert shop.airflow.xcom(DAG, run_id, "ingest", "reason").startswith("Unknown run setting trails.")
    assert shop.commands() == before


def test_marking_a_task_as_failed_ends_its_job(shop: Shop) -> None:
    shop.order(ingest={"sleep": 600})
    before = len(shop.commands())
    run_id = shop.airflow.trigger(DAG)
    deadline = time.monotonic() + 60
    while len(shop.commands()) == before and time.monotonic() < deadline:
        time.sleep(0.2)
    job = psutil.Process(int(shop.commands()[-1].split()[-1]))
    shop.airflow.set_state(DAG, run_id, "ingest", "failed")
    job.wait(timeout=30)
    shop.order()
    assert shop.end(run_id)[0] == "failed"
