"""
### Brings the released answer up to date with the catalogue

Runs every night at 02:00 UTC and whenever a feed lands; the work follows what changed, not what exists.

| what you see | what it means | what to press |
|---|---|---|
| `up_to_date` green, the branches skipped | nothing has changed | nothing |
| a branch skipped | this refresh did not need it | nothing |
| a task red, its reason begins with *Held:* | a gate or guard said no; what serves goes on serving | read the reason, then clear the task, or trigger a run with another mode |
| a task red otherwise | the last line of its log says what, where and what to do | mend that, then clear the task |

Every reason stands in one line at the end of the task's log, in its XCom `reason`, and in the column *Map Index* of the
run's task instances. Each task is one command, `recsim JOB --refresh RUN_ID`, which can be run by hand as well.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param, TaskGroup, TriggerRule

from recsim_airflow.assets import CATALOGUE, RELEASE, feed_inbox
from recsim_airflow.operators import DecisionBranchOperator, RecsimJobOperator, refuse_unknown_conf
from recsim_airflow.sensors import DeltaChangeDataFeedSensor
from recsim_tasks.foundation.settings import load_settings

MODES = {
    "auto": "auto: let the plan decide",
    "append": "append: only what changed",
    "rebuild": "rebuild: embed and index all, with the model that serves",
    "retrain": "retrain: search, train, embed and index all",
}
VERSION = "{{ ti.xcom_pull(task_ids='register')['version'] }}"
GPU_POOL = "gpu_pool"
# No time but the coming night: left at its default, a DAG that is switched on in the small hours runs at once.
NIGHTLY = CronTriggerTimetable("0 2 * * *", timezone="UTC", run_immediately=timedelta())

settings = load_settings()


def embed(hours: float) -> RecsimJobOperator:
    """Embed what has no embedding by this model yet."""
    return RecsimJobOperator(
        task_id="embed",
        job="embed",
        execution_timeout=timedelta(hours=hours),
        doc_md="Gives every image an embedding that has none by this model yet: *embedded n of m*. Safe to clear: what is embedded is not embedded again.",
    )


def index(action: str) -> RecsimJobOperator:
    """Bring the index up to date, or build it."""
    return RecsimJobOperator(
        task_id="index",
        job="index",
        arguments=[action],
        execution_timeout=timedelta(hours=1),
        doc_md="Writes this refresh's index beside the one that serves: products added, replaced, removed. Safe to clear.",
    )


with DAG(
    dag_id="recsim_refresh",
    dag_display_name="recsim: refresh",
    description="Takes feeds into the catalogue and brings model, embeddings and index up to date with it.",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(timetable=NIGHTLY, assets=[feed_inbox(settings.inbox_dir)]),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=12),
    tags={"recsim", "refresh"},
    default_args={"owner": "recsim", "retries": 2, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": True},
    params={
        "mode": Param(
            "auto",
            type="string",
            enum=list(MODES),
            values_display=MODES,
            title="Mode",
            description="Leave it at auto, unless you want more done than the changes ask for.",
        ),
        "trials": Param(
            4,
            type="integer",
            minimum=1,
            maximum=200,
            title="Trials",
            section="Retraining",
            description="How many parameter sets the search tries. Matters to a retrain alone.",
        ),
    },
) as dag:
    ingest = RecsimJobOperator(
        task_id="ingest",
        job="ingest",
        pre_execute=refuse_unknown_conf,
        outlets=[CATALOGUE],
        execution_timeout=timedelta(hours=2),
        doc_md="Takes every closed feed of the inbox into the catalogue, each once; rows that cannot be taken go to quarantine. "
        "Red: a feed cannot be used as a whole and now lies in `.refused` of the inbox, with the reason. Clear this task to go on without it, and have it delivered again.",
    )
    await_catalogue = DeltaChangeDataFeedSensor(
        task_id="await_catalogue",
        table_uri=settings.products_uri,
        min_version="{{ ti.xcom_pull(task_ids='ingest')['table_version'] or 0 }}",
        timeout=600,
        execution_timeout=timedelta(minutes=15),
        doc_md="Waits until the catalogue shows what was just committed, and checks that its change feed is on. "
        "Red: this Airflow and the jobs look at different tables, or the change feed is off; the reason says which.",
    )
    plan = RecsimJobOperator(
        task_id="plan",
        job="plan",
        arguments=["--mode", "{{ params.mode }}"],
        execution_timeout=timedelta(minutes=15),
        doc_md="Decides `skip`, `append`, `rebuild` or `retrain` from the serving release's cursor and what changed since. Changes nothing.",
    )
    decide = DecisionBranchOperator(
        task_id="decide",
        plan_task="plan",
        branches={"skip": "up_to_date", "append": "append", "rebuild": "rebuild", "retrain": "retrain"},
        execution_timeout=timedelta(minutes=5),
        doc_md="Follows the plan's decision. The branches that it does not need show as skipped.",
    )
    up_to_date = EmptyOperator(
        task_id="up_to_date",
        execution_timeout=timedelta(minutes=5),
        doc_md="The release that serves already holds the whole catalogue. Nothing to do.",
    )
    with TaskGroup("append", tooltip="Only what changed, with the model that serves") as append:
        embed(hours=2) >> index("append")
    with TaskGroup("rebuild", tooltip="All products anew, with the model that serves") as rebuild:
        embed(hours=6) >> index("build")
    with TaskGroup("retrain", tooltip="A new model, and all products by it") as retrain:
        tune = RecsimJobOperator(
            task_id="tune",
            job="tune",
            arguments=["--trials", "{{ params.trials }}"],
            pool=GPU_POOL,
            execution_timeout=timedelta(hours=6),
            doc_md="Searches for good training parameters. Waits for a slot of `gpu_pool`, so that one training uses the GPUs at a time.",
        )
        train = RecsimJobOperator(
            task_id="train",
            job="train",
            pool=GPU_POOL,
            execution_timeout=timedelta(hours=8),
            doc_md="Trains the model on all ranks with the best parameters found. Waits for a slot of `gpu_pool`.",
        )
        tune >> train >> embed(hours=6) >> index("build")
    evaluate = RecsimJobOperator(
        task_id="evaluate",
        job="evaluate",
        retries=1,
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        execution_timeout=timedelta(hours=1),
        doc_md="Measures what the new release finds, by category and against an exact search, and holds it if it is worse than the one that serves. "
        "Red with *Held:*: nothing has been changed; look at `slices` in this task's XCom, mend the data or trigger a retrain.",
    )
    register = RecsimJobOperator(
        task_id="register",
        job="register",
        execution_timeout=timedelta(hours=1),
        doc_md="Registers model, index and manifest in MLflow as one release. Safe to clear: one refresh registers one release.",
    )
    promote = RecsimJobOperator(
        task_id="promote",
        job="promote",
        arguments=["--version", VERSION],
        outlets=[RELEASE],
        execution_timeout=timedelta(minutes=15),
        doc_md="Makes the release the champion; serving takes it up by itself. Safe to clear.",
    )
    verify = RecsimJobOperator(
        task_id="verify",
        job="verify",
        arguments=["--version", VERSION],
        execution_timeout=timedelta(minutes=15),
        doc_md="Asks until the promoted release is the one that answers. Red: the release is promoted but not served; look at the serving process, then clear this task.",
    )

    ingest >> await_catalogue >> plan >> decide >> [up_to_date, append, rebuild, retrain]
    [append, rebuild, retrain] >> evaluate >> register >> promote >> verify
