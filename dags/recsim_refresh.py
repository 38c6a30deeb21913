"""Brings the recommender up to date with the catalogue.

The file shows what a run does. What an operator reads is in `recsim_refresh.md`, on the DAG's page, and in
`recsim_refresh.yaml`, on the tasks' pages, with time limits and retries.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, Context, CronTriggerTimetable, TaskGroup, TriggerRule

from recsim_airflow.approvals import FeedApprovalOperator, ReleaseApprovalOperator, configured_approvers
from recsim_airflow.asset_state import record_cursor, record_refresh_start
from recsim_airflow.assets import CATALOGUE, RELEASE, catalogue_commits, feed_inbox
from recsim_airflow.hooks import storage_conn_id
from recsim_airflow.listeners import GPU_POOL, POOL_SLOTS_ARGUMENT
from recsim_airflow.operators import (
    PlanBranchOperator,
    RecsimJobOperator,
    UpToDateOperator,
    refuse_unknown_conf,
)
from recsim_airflow.params import refresh_params
from recsim_airflow.retries import RETRIES, begin_try
from recsim_airflow.sensors import DeltaChangeDataFeedSensor
from recsim_airflow.task_table import read_task_table
from recsim_tasks.foundation.settings import load_settings

TASKS = read_task_table(__file__)
CATALOGUE_VERSION = (
    "{{ (ti.xcom_pull(task_ids='answer_feed') or ti.xcom_pull(task_ids='ingest'))['table_version'] or 0 }}"
)
RELEASE_VERSION = ["--version", "{{ ti.xcom_pull(task_ids='register')['version'] }}"]
# Only the coming nights: by default, a DAG that is switched on in the small hours would run at once.
NIGHTLY = CronTriggerTimetable("0 2 * * *", timezone="UTC", run_immediately=timedelta())

settings = load_settings()
inbox, commits = feed_inbox(settings), catalogue_commits(settings)
embedding_pool: dict[str, Any] = (
    {"pool": GPU_POOL, "pool_slots": settings.embedding_slots} if settings.embedding_slots else {}
)


def begin(context: Context) -> None:
    """Refuse unknown run parameters, and let the inbox's trigger know that a refresh has started."""
    begin_try(context)
    refuse_unknown_conf(context)
    record_refresh_start(context, inbox)


def record_promotion(context: Context, _result: object) -> None:
    """Let the catalogue's trigger know up to where the new champion reflects the catalogue."""
    record_cursor(context, commits, plan_task="plan")


def job(task: str, *arguments: str, **options: Any) -> RecsimJobOperator:
    """A task that runs the job of its own name; `task` is its full id, such as `append.embed`."""
    name = task.rpartition(".")[2]
    return RecsimJobOperator(task_id=name, job=name, arguments=arguments, **TASKS[task], **options)


with DAG(
    dag_id="recsim_refresh",
    dag_display_name="recsim: refresh",
    description="Applies feeds to the catalogue and brings encoder, embeddings and index up to date with it.",
    doc_md=str(Path(__file__).with_suffix(".md")),
    schedule=AssetOrTimeSchedule(timetable=NIGHTLY, assets=inbox | commits),
    catchup=False,
    max_active_runs=1,
    # Two answers of eight hours each and the work; it is over before the next night.
    dagrun_timeout=timedelta(hours=23),
    tags={"recsim", "refresh"},
    default_args={"owner": "recsim", **RETRIES},
    params=refresh_params(settings),
) as dag:
    ingest = job("ingest", succeed_on_hold=True, pre_execute=begin, inlets=[inbox], outlets=[CATALOGUE])
    approve_feed = FeedApprovalOperator(task_id="approve_feed", ingest_task="ingest", **TASKS["approve_feed"])
    answer_feed = RecsimJobOperator(
        task_id="answer_feed",
        job="ingest",
        arguments=approve_feed.job_arguments,
        # A feed behind this one may be on hold too: this refresh continues without it, the next one asks.
        succeed_on_hold=True,
        outlets=[CATALOGUE],
        **TASKS["answer_feed"],
    )
    await_catalogue = DeltaChangeDataFeedSensor(
        task_id="await_catalogue",
        table_uri=settings.products_uri,
        min_version=CATALOGUE_VERSION,
        cursor_of=commits,
        conn_id=storage_conn_id(),
        timeout=600,
        # If the commit of this run does not show, a skip would look like an up-to-date catalogue.
        soft_fail=False,
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        **TASKS["await_catalogue"],
    )
    plan = job("plan", "--mode", "{{ params.mode }}", POOL_SLOTS_ARGUMENT)
    decide = PlanBranchOperator(
        task_id="decide",
        plan_task="plan",
        branches={"skip": "up_to_date", "append": "append", "rebuild": "rebuild", "retrain": "retrain"},
        **TASKS["decide"],
    )
    up_to_date = UpToDateOperator(
        task_id="up_to_date", plan_task="plan", catalogue=commits, **TASKS["up_to_date"]
    )
    with TaskGroup("append", tooltip="Only what changed, with the current encoder") as append:
        job("append.embed", **embedding_pool) >> job("append.index", "append")
    with TaskGroup("rebuild", tooltip="Every product, with the current encoder") as rebuild:
        job("rebuild.embed", **embedding_pool) >> job("rebuild.index", "build")
    with TaskGroup("retrain", tooltip="A new encoder, and every product with it") as retrain:
        tune = job(
            "retrain.tune",
            "--trials",
            "{{ params.trials }}",
            pool=GPU_POOL,
            pool_slots=settings.tune_parallel,
        )
        train = job("retrain.train", pool=GPU_POOL, pool_slots=settings.ranks)
        tune >> train >> job("retrain.embed", **embedding_pool) >> job("retrain.index", "build")
    evaluate = job("evaluate", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    register = job("register", "{{ '--ask' if params.approval == 'ask' }}")
    gate = job("gate")
    approve = ReleaseApprovalOperator(
        task_id="approve",
        approval="{{ params.approval }}",
        evaluate_task="evaluate",
        register_task="register",
        assigned_users=configured_approvers(),
        **TASKS["approve"],
    )
    promote = job(
        "promote",
        *RELEASE_VERSION,
        *approve.job_arguments,
        inlets=[commits],
        outlets=[RELEASE],
        post_execute=record_promotion,
    )
    verify = job("verify", *RELEASE_VERSION)

    ingest >> approve_feed >> answer_feed
    [ingest, answer_feed] >> await_catalogue >> plan >> decide >> [up_to_date, append, rebuild, retrain]
    [append, rebuild, retrain] >> evaluate >> register >> gate >> approve >> promote >> verify
