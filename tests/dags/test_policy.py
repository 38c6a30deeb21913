"""The rules for every DAG, and the shape of the refresh."""

from __future__ import annotations

import importlib.util
import json
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import (
    DAG,
    Asset,
    AssetAny,
    AssetOrTimeSchedule,
    BaseSensorOperator,
    CronTriggerTimetable,
    yaml,
)
from airflow.sdk.bases.operator import BaseOperator

from recsim_airflow.operators import RecsimJobOperator
from recsim_airflow.retries import FIRST_DELAY, LONGEST_DELAY, OutageRetryPolicy, begin_try
from recsim_tasks.contracts import result_model
from recsim_tasks.foundation.settings import Settings

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).parents[2]
POOLS = json.loads((ROOT / "plugins" / "recsim_airflow" / "pools.json").read_text())

SETTINGS = Settings.model_construct()

EDGES = {
    "ingest": {"approve_feed", "await_catalogue"},
    "approve_feed": {"answer_feed"},
    "answer_feed": {"await_catalogue"},
    "await_catalogue": {"plan"},
    "plan": {"decide"},
    "decide": {"up_to_date", "append.embed", "rebuild.embed", "retrain.tune"},
    "up_to_date": set(),
    "append.embed": {"append.index"},
    "append.index": {"evaluate"},
    "rebuild.embed": {"rebuild.index"},
    "rebuild.index": {"evaluate"},
    "retrain.tune": {"retrain.train"},
    "retrain.train": {"retrain.embed"},
    "retrain.embed": {"retrain.index"},
    "retrain.index": {"evaluate"},
    "evaluate": {"register"},
    "register": {"gate"},
    "gate": {"approve"},
    "approve": {"promote"},
    "promote": {"verify"},
    "verify": set(),
}
COMMANDS = {
    "ingest": "ingest",
    "answer_feed": "ingest "
    "{{ '--accept' if ti.xcom_pull(task_ids='approve_feed')['answer'] == 'accept' else '--refuse' }} "
    "{{ ti.xcom_pull(task_ids='approve_feed')['digest'] }} "
    "--by {{ ti.xcom_pull(task_ids='approve_feed')['by'] }}",
    "plan": "plan --mode {{ params.mode }} {% set slots = var.value.get('recsim_gpu_pool_slots', '') %}"
    "{{ '--pool-slots=' ~ slots if slots and slots != '-1' }}",
    "append.embed": "embed",
    "append.index": "index append",
    "rebuild.embed": "embed",
    "rebuild.index": "index build",
    "retrain.tune": "tune --trials {{ params.trials }}",
    "retrain.train": "train",
    "retrain.embed": "embed",
    "retrain.index": "index build",
    "evaluate": "evaluate",
    "gate": "gate",
    "register": "register {{ '--ask' if params.approval == 'ask' }}",
    "promote": "promote --version {{ ti.xcom_pull(task_ids='register')['version'] }} "
    "--by {{ (ti.xcom_pull(task_ids='approve') or {}).get('by') or 'refresh' }} --through=airflow "
    "{% set at = (ti.xcom_pull(task_ids='approve') or {}).get('at') %}{{ '--answered-at=' ~ at if at }} "
    "{{ '--reject' if (ti.xcom_pull(task_ids='approve') or {}).get('answer') == 'reject' }}",
    "verify": "verify --version {{ ti.xcom_pull(task_ids='register')['version'] }}",
}


def read(name: str) -> DAG:
    spec = importlib.util.spec_from_file_location(name, ROOT / "dags" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dag = module.dag
    assert isinstance(dag, DAG)
    return dag


@pytest.fixture(params=sorted(file.stem for file in (ROOT / "dags").glob("*.py")))
def dag(request: pytest.FixtureRequest, settings: Settings) -> DAG:
    return read(request.param)


@pytest.fixture
def refresh(settings: Settings) -> DAG:
    return read("recsim_refresh")


@pytest.fixture
def tasks(dag: DAG) -> list[BaseOperator]:
    return [task for task in dag.tasks if isinstance(task, BaseOperator)]


def test_a_dag_is_named_after_its_file_and_says_what_it_is_for(dag: DAG) -> None:
    assert (ROOT / "dags" / f"{dag.dag_id}.py").exists()
    assert dag.description
    assert len(dag.doc_md or "") > 200
    assert "recsim" in dag.tags


def test_a_dag_does_not_catch_up_and_does_not_run_for_ever(dag: DAG) -> None:
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert dag.dagrun_timeout is not None


def test_every_task_has_retries_a_time_limit_an_owner_and_documentation(
    tasks: list[BaseOperator],
) -> None:
    for task in tasks:
        assert task.retries is not None
        assert task.retries >= 1, task.task_id
        assert task.retry_delay >= timedelta(seconds=10), task.task_id
        assert task.max_retry_delay == timedelta(minutes=10), task.task_id
        assert task.retry_exponential_backoff > 1, task.task_id  # 1, or True, is no back-off
        assert task.execution_timeout is not None, task.task_id
        assert task.owner == "recsim", task.task_id
        assert len(task.doc_md or "") > 40, task.task_id


def test_every_task_retries_outages_until_its_time_limit_and_failures_once_or_twice(
    tasks: list[BaseOperator],
) -> None:
    for task in tasks:
        assert isinstance(task.retry_policy, OutageRetryPolicy), task.task_id
        assert 1 <= task.retry_policy.failure_retries <= 2, task.task_id
        assert task.execution_timeout is not None
        assert task.retries is not None
        assert tries_within(task.execution_timeout.total_seconds()) < task.retries, task.task_id


def test_every_task_checks_its_earlier_tries(tasks: list[BaseOperator]) -> None:
    for task in tasks:
        hook = task._pre_execute_hook
        names = getattr(hook, "__code__", None)
        assert hook is begin_try or (names and "begin_try" in names.co_names), task.task_id


def tries_within(limit: float) -> int:
    """How many tries there are in `limit` seconds of nothing but waiting."""
    tries, waited = 0, 0.0
    while waited < limit:
        waited += min(FIRST_DELAY * 2**tries, LONGEST_DELAY)
        tries += 1
    return tries


def test_every_pool_is_in_pools_json(tasks: list[BaseOperator]) -> None:
    assert {task.pool for task in tasks} <= {"default_pool", *POOLS}


def test_no_task_may_take_longer_than_the_run(refresh: DAG) -> None:
    assert refresh.dagrun_timeout is not None
    for task in refresh.tasks:
        assert task.execution_timeout is not None, task.task_id
        assert task.execution_timeout < refresh.dagrun_timeout, task.task_id


def test_the_gpu_pool_has_room_for_one_training_at_a_time(refresh: DAG) -> None:
    slots = {task.task_id: task.pool_slots for task in refresh.tasks if task.pool == "gpu_pool"}
    assert slots == {"retrain.tune": SETTINGS.tune_parallel, "retrain.train": SETTINGS.ranks}
    assert POOLS["gpu_pool"]["slots"] == SETTINGS.device_slots == max(slots.values())
    assert {task.task_id for task in refresh.tasks if task.pool == "gpu_pool"} == {
        "retrain.tune",
        "retrain.train",
    }


def test_embedding_takes_the_gpus_of_a_cluster_from_the_gpu_pool(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSIM_GPUS", "3")
    assert embedding_slots(read("recsim_refresh")) == {"default_pool": 1}, (
        "a local master gives its tasks no GPU"
    )
    monkeypatch.setenv("RECSIM_SPARK_MASTER", "spark://there:7077")
    assert embedding_slots(read("recsim_refresh")) == {"gpu_pool": 3}


def embedding_slots(refresh: DAG) -> dict[str, int]:
    return {task.pool: task.pool_slots for task in refresh.tasks if task.task_id.endswith(".embed")}


def test_the_refresh_has_these_tasks_and_edges(refresh: DAG) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in refresh.tasks} == EDGES


def test_every_job_of_a_dag_has_a_typed_result(tasks: list[BaseOperator]) -> None:
    for task in tasks:
        if isinstance(task, RecsimJobOperator) and "{{" not in task.job:
            assert result_model(task.job) is not None, task.job
    assert all(result_model(action) for action in ("rollback", "resume"))
    assert result_model("levitate") is None


def test_the_table_beside_the_dag_has_exactly_its_tasks(refresh: DAG) -> None:
    table = yaml.safe_load((ROOT / "dags" / "recsim_refresh.yaml").read_text())
    assert set(table) == set(refresh.task_ids)


def test_the_dag_shows_the_chain_on_few_lines() -> None:
    assert len((ROOT / "dags" / "recsim_refresh.py").read_text().splitlines()) < 160


def test_each_job_is_one_command(refresh: DAG) -> None:
    jobs = {
        task.task_id: " ".join([task.job, *task.arguments])
        for task in refresh.tasks
        if isinstance(task, RecsimJobOperator)
    }
    assert jobs == COMMANDS


def watched_assets(refresh: DAG) -> list[Asset]:
    """The assets that start a refresh."""
    schedule = refresh.timetable
    assert isinstance(schedule, AssetOrTimeSchedule)
    assert isinstance(schedule.asset_condition, AssetAny)
    return [asset for asset in schedule.asset_condition.objects if isinstance(asset, Asset)]


def approval_task(refresh: DAG, task: str) -> HITLOperator:
    """A task that asks a person."""
    approval = refresh.get_task(task)
    assert isinstance(approval, HITLOperator)
    return approval


def test_the_refresh_runs_at_night_and_when_feeds_land_or_another_writer_commits(
    refresh: DAG, settings: Settings
) -> None:
    schedule = refresh.timetable
    assert isinstance(schedule, AssetOrTimeSchedule)
    assert isinstance(schedule.timetable, CronTriggerTimetable)
    assert schedule.timetable.expression == "0 2 * * *"
    watched = {asset.name: asset.watchers[0].trigger.serialize()[1] for asset in watched_assets(refresh)}
    assert set(watched) == {"recsim_feed_inbox", "recsim_catalogue_commits"}
    assert watched["recsim_feed_inbox"]["inbox"] == str(settings.inbox_dir)
    assert watched["recsim_catalogue_commits"]["table_uri"] == settings.products_uri
    assert all(kwargs["asset_name"] == name for name, kwargs in watched.items())


def test_a_refresh_does_not_start_the_next_one(refresh: DAG) -> None:
    watched = {asset.name for asset in watched_assets(refresh)}
    assert not watched & {asset.name for task in refresh.tasks for asset in task.outlets}


def test_asset_triggers_have_the_id_of_the_connection_and_no_secret(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__RECSIM__STORAGE_CONN_ID", "lake")
    monkeypatch.setenv("RECSIM_INBOX", "s3://lake/inbox")
    refresh = read("recsim_refresh")
    kwargs = [asset.watchers[0].trigger.serialize()[1] for asset in watched_assets(refresh)]
    assert [each["conn_id"] for each in kwargs] == ["lake", "lake"]
    assert kwargs[0]["inbox"] == "s3://lake/inbox"


@pytest.mark.parametrize("task", ["approve_feed", "approve"])
def test_a_task_waits_for_an_answer_no_longer_than_the_run_may_last(refresh: DAG, task: str) -> None:
    approval = approval_task(refresh, task)
    assert refresh.dagrun_timeout is not None
    assert approval.response_timeout is not None
    assert approval.response_timeout < refresh.dagrun_timeout
    assert approval.defaults is None


def test_a_run_with_two_late_answers_ends_before_the_next_night(refresh: DAG) -> None:
    assert refresh.dagrun_timeout is not None
    answers = timedelta()
    for task in ("approve_feed", "approve"):
        wait = approval_task(refresh, task).response_timeout
        assert wait is not None
        answers += wait
    assert answers + timedelta(hours=6) < refresh.dagrun_timeout < timedelta(hours=24)


def test_a_catalogue_that_does_not_show_the_commit_fails_the_refresh(refresh: DAG) -> None:
    sensor = refresh.get_task("await_catalogue")
    assert isinstance(sensor, BaseSensorOperator)
    assert sensor.soft_fail is False


def test_the_trigger_form_offers_mode_approval_and_trials_within_bounds(refresh: DAG) -> None:
    forms = {name: refresh.params.get_param(name) for name in refresh.params}
    assert set(forms) == {"mode", "approval", "trials"}
    assert (forms["approval"].value, forms["approval"].schema["enum"]) == ("none", ["none", "ask"])
    assert (forms["mode"].value, forms["mode"].schema["enum"]) == (
        "auto",
        ["auto", "append", "rebuild", "retrain"],
    )
    assert (forms["trials"].value, forms["trials"].schema["minimum"], forms["trials"].schema["maximum"]) == (
        4,
        1,
        200,
    )
    assert all(form.schema["title"] and form.description for form in forms.values())


def test_airflows_configuration_names_the_approvers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not approval_task(read("recsim_refresh"), "approve").assigned_users
    monkeypatch.setenv("AIRFLOW__RECSIM__APPROVERS", "1:ada, grace")
    assert approval_task(read("recsim_refresh"), "approve").assigned_users == [
        {"id": "1", "name": "ada"},
        {"id": "grace", "name": "grace"},
    ]


def test_the_rollback_is_one_command_and_a_check_of_serving() -> None:
    rollback = read("recsim_rollback")
    jobs = {
        task.task_id: [task.job, *task.arguments]
        for task in rollback.tasks
        if isinstance(task, RecsimJobOperator)
    }
    assert jobs["rollback"] == [
        "{{ params.action }}",
        "{{ '--to=' ~ params.to if params.to and params.action == 'rollback' }}",
        "{{ '--reason=' ~ params.reason if params.reason and params.action == 'rollback' }}",
        "--by={{ dag_run.triggering_user_name or 'airflow' }}",
        "--through=airflow",
    ]
    assert jobs["verify"] == ["verify", "--version", "{{ ti.xcom_pull(task_ids='rollback')['version'] }}"]
    assert rollback.timetable.can_be_scheduled is False


def test_a_rollback_can_be_triggered_with_an_empty_form() -> None:
    params = read("recsim_rollback").params
    assert dict(params.dump()) == {"action": "rollback", "to": None, "reason": None}


def test_no_form_asks_for_a_name(refresh: DAG) -> None:
    """Airflow knows the user."""
    assert set(read("recsim_rollback").params) == {"action", "to", "reason"}
    assert not {"by", "user", "name", "approver"} & set(refresh.params)
