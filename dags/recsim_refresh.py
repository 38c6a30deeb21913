"""Brings the recommender up to date with the catalogue.

The file shows what a run does. What an operator reads is in `recsim_refresh.md`, on the DAG's page, and in
`recsim_refresh.yaml`, on the tasks' pages, with time limits and retries.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

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
FEED_DECISION = [
    "{{ '--accept' if ti.xcom_pull(task_ids='approve_feed')['answer'] == 'accept' else '--refuse' }}",
    "{{ ti.xcom_pull(task_ids='approve_feed')['digest'] }}",
    "--by",
    "{{ ti.xcom_pull(task_ids='approve_feed')['by'] }}",
]
CATALOGUE_VERSION = (
    "{{ (ti.xcom_pull(task_ids='answer_feed') or ti.xcom_pull(task_ids='ingest'))['table_version'] or 0 }}"
)
RELEASE_VERSION = ["--version", "{{ ti.xcom_pull(task_ids='register')['version'] }}"]
# By the refresh itself if the run needs no approval, or if `approve` was marked as a success, not answered.
APPROVAL = [
    "--by",
    "{{ (ti.xcom_pull(task_ids='approve') or {}).get('by') or 'refresh' }}",
    "--through=airflow",
    "{% set at = (ti.xcom_pull(task_ids='approve') or {}).get('at') %}{{ '--answered-at=' ~ at if at }}",
    "{{ '--reject' if (ti.xcom_pull(task_ids='approve') or {}).get('answer') == 'reject' }}",
]
# Only the coming nights: by default, a DAG that is switched on in the small hours would run at once.
NIGHTLY = CronTriggerTimetable("0 2 * * *", timezone="UTC", run_immediately=timedelta())

settings = load_settings()
inbox, commits = feed_inbox(settings), catalogue_commits(settings)
embedding_pool = (
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


def embed(branch: str) -> RecsimJobOperator:
    """Embed what has no embedding by this encoder yet."""
    return RecsimJobOperator(task_id="embed", job="embed", **embedding_pool, **TASKS[f"{branch}.embed"])


def index(branch: str, action: str) -> RecsimJobOperator:
    """Build the index, or append to a copy of the champion's."""
    return RecsimJobOperator(task_id="index", job="index", arguments=[action], **TASKS[f"{branch}.index"])


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
    ingest = RecsimJobOperator(
        task_id="ingest",
        job="ingest",
        succeed_on_hold=True,
        pre_execute=begin,
        inlets=[inbox],
        outlets=[CATALOGUE],
        **TASKS["ingest"],
    )
    approve_feed = FeedApprovalOperator(task_id="approve_feed", ingest_task="ingest", **TASKS["approve_feed"])
    answer_feed = RecsimJobOperator(
        task_id="answer_feed",
        job="ingest",
        arguments=FEED_DECISION,
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
    plan = RecsimJobOperator(
        task_id="plan",
        job="plan",
        arguments=["--mode", "{{ params.mode }}", POOL_SLOTS_ARGUMENT],
        **TASKS["plan"],
    )
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
        embed("append") >> index("append", "append")
    with TaskGroup("rebuild", tooltip="Every product, with the current encoder") as rebuild:
        embed("rebuild") >> index("rebuild", "build")
    with TaskGroup("retrain", tooltip="A new encoder, and every product with it") as retrain:
        tune = RecsimJobOperator(
            task_id="tune",
            job="tune",
            arguments=["--trials", "{{ params.trials }}"],
            pool=GPU_POOL,
            pool_slots=settings.tune_parallel,
            **TASKS["retrain.tune"],
        )
        train = RecsimJobOperator(
            task_id="train", job="train", pool=GPU_POOL, pool_slots=settings.ranks, **TASKS["retrain.train"]
        )
        tune >> train >> embed("retrain") >> index("retrain", "build")
    evaluate = RecsimJobOperator(
        task_id="evaluate",
        job="evaluate",
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        **TASKS["evaluate"],
    )
    register = RecsimJobOperator(
        task_id="register",
        job="register",
        arguments=["{{ '--ask' if params.approval == 'ask' }}"],
        **TASKS["register"],
    )
    gate = RecsimJobOperator(task_id="gate", job="gate", **TASKS["gate"])
    approve = ReleaseApprovalOperator(
        task_id="approve",
        approval="{{ params.approval }}",
        evaluate_task="evaluate",
        register_task="register",
        assigned_users=configured_approvers(),
        **TASKS["approve"],
    )
    promote = RecsimJobOperator(
        task_id="promote",
        job="promote",
        arguments=[*RELEASE_VERSION, *APPROVAL],
        inlets=[commits],
        outlets=[RELEASE],
        post_execute=record_promotion,
        **TASKS["promote"],
    )
    verify = RecsimJobOperator(task_id="verify", job="verify", arguments=RELEASE_VERSION, **TASKS["verify"])

    ingest >> approve_feed >> answer_feed
    [ingest, answer_feed] >> await_catalogue >> plan >> decide >> [up_to_date, append, rebuild, retrain]
    [append, rebuild, retrain] >> evaluate >> register >> gate >> approve >> promote >> verify
