"""
### Brings the released answer up to date with the catalogue

Runs every night at 02:00 UTC, whenever feeds land, and whenever somebody else changes the catalogue; the work follows what changed,
not what exists. One run takes in everything that is there, however many events there were.

| what you see | what it means | what to press |
|---|---|---|
| `up_to_date` green, the branches skipped | nothing has changed | nothing |
| a branch skipped | this refresh did not need it | nothing |
| `approve_feed` waits | a guard holds a feed: nothing of it has been written | open the task's *Required Actions*, read the figures, approve or reject |
| `approve` waits | the run was told to ask before it promotes | open its *Required Actions*, read the gate's rules, approve or reject |
| `promote` red: *rejected* | a person has rejected the release | clear `approve` to be asked again; nothing else promotes it |
| a task red, its reason begins with *Held:* | a gate, a guard or a person said no; what serves goes on serving | read the reason, then clear the task, or trigger a run with another mode |
| `promote` red: *promotions are held* | somebody rolled back | trigger `recsim_rollback` with *resume* when the cause is mended |
| a task *up for retry* | something is away or failed; the end of its log and its XCom `reason` say what, and it is tried again by itself | nothing; bring back what is away |
| a task red otherwise | the last line of its log says what, where and what to do | mend that, then clear the task |

Every reason stands in one line at the end of the task's log, in its XCom `reason`, and in the column *Map Index* of the
run's task instances. Each task is one command, `recsim JOB --refresh RUN_ID`, which can be run by hand as well.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, Context, CronTriggerTimetable, Param, TaskGroup, TriggerRule

from recsim_airflow.approvals import HeldFeedApprovalOperator, ReleaseApprovalOperator, approvers
from recsim_airflow.asset_state import UpToDateOperator, note_committed, note_heard
from recsim_airflow.assets import CATALOGUE, RELEASE, catalogue_commits, feed_inbox
from recsim_airflow.listeners import GPU_POOL, VARIABLE
from recsim_airflow.operators import DecisionBranchOperator, RecsimJobOperator, refuse_unknown_conf
from recsim_airflow.retries import RETRIES, OutageRetryPolicy, begin_try
from recsim_airflow.sensors import DeltaChangeDataFeedSensor
from recsim_airflow.storage import storage_conn_id
from recsim_tasks.foundation.settings import load_settings

APPROVALS = {
    "none": "none: promote what the gate lets through",
    "ask": "ask: somebody looks at the verdict first",
}
MODES = {
    "auto": "auto: let the plan decide",
    "append": "append: only what changed",
    "rebuild": "rebuild: embed and index all, with the model that serves",
    "retrain": "retrain: search, train, embed and index all",
}
ANSWER = "{{ ti.xcom_pull(task_ids='approve_feed')['%s'] }}"
INGESTED = (
    "{{ (ti.xcom_pull(task_ids='answer_feed') or ti.xcom_pull(task_ids='ingest'))['table_version'] or 0 }}"
)
VERSION = "{{ ti.xcom_pull(task_ids='register')['version'] }}"
# Empty where the run does not ask, and where a person has marked `approve` as a success instead of answering.
APPROVED_BY = "{{ (ti.xcom_pull(task_ids='approve') or {}).get('by') or 'refresh' }}"
ANSWERED_AT = (
    "{% set at = (ti.xcom_pull(task_ids='approve') or {}).get('at') %}{{ '--answered-at=' ~ at if at }}"
)
REJECTED = "{{ '--reject' if (ti.xcom_pull(task_ids='approve') or {}).get('answer') == 'reject' }}"
# The scheduler writes it when the run begins; empty where it has not, and where the pool is without bounds.
POOL_SLOTS = f"{{% set slots = var.value.get('{VARIABLE}', '') %}}{{{{ '--pool-slots=' ~ slots if slots and slots != '-1' }}}}"
# No time but the coming night: left at its default, a DAG that is switched on in the small hours runs at once.
NIGHTLY = CronTriggerTimetable("0 2 * * *", timezone="UTC", run_immediately=timedelta())

settings = load_settings()
inbox, commits = feed_inbox(settings), catalogue_commits(settings)


def begin(context: Context) -> None:
    """Refuse a run that was started wrongly, and tell the inbox's watcher that one has begun."""
    begin_try(context)
    refuse_unknown_conf(context)
    note_heard(context, inbox)


def embed(hours: float) -> RecsimJobOperator:
    """Embed what has no embedding by this model yet."""
    return RecsimJobOperator(
        task_id="embed",
        job="embed",
        **({"pool": GPU_POOL, "pool_slots": settings.embedding_slots} if settings.embedding_slots else {}),
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
    schedule=AssetOrTimeSchedule(timetable=NIGHTLY, assets=inbox | commits),
    catchup=False,
    max_active_runs=1,
    # Two answers may be waited for, eight hours each, and work be done; by the next night it is over.
    dagrun_timeout=timedelta(hours=23),
    tags={"recsim", "refresh"},
    default_args={"owner": "recsim", **RETRIES},
    params={
        "mode": Param(
            "auto",
            type="string",
            enum=list(MODES),
            values_display=MODES,
            title="Mode",
            description="Leave it at auto, unless you want more done than the changes ask for.",
        ),
        "approval": Param(
            settings.approval,
            type="string",
            enum=list(APPROVALS),
            values_display=APPROVALS,
            title="Approval",
            description="Whether somebody is asked before a new release goes into Production.",
        ),
        "trials": Param(
            settings.tune_trials,
            type="integer",
            minimum=1,
            maximum=max(200, settings.tune_trials),
            title="Trials",
            section="Retraining",
            description="How many parameter sets the search tries. Matters to a retrain alone.",
        ),
    },
) as dag:
    ingest = RecsimJobOperator(
        task_id="ingest",
        job="ingest",
        pre_execute=begin,
        hands_on_held=True,
        inlets=[inbox],
        outlets=[CATALOGUE],
        execution_timeout=timedelta(hours=2),
        doc_md="Takes every closed feed of the inbox into the catalogue, in order of arrival and each once; rows that cannot be taken go to quarantine. "
        "*Held*: a guard wants somebody to look at a feed first, `approve_feed` asks. "
        "Red: a feed cannot be used as a whole and now lies in `.refused` of the inbox, with the reason. Clear this task to go on without it, and have it delivered again.",
    )
    approve_feed = HeldFeedApprovalOperator(
        task_id="approve_feed",
        ingest_task="ingest",
        # Feeds behind the held one wait as long, and so do the changes of others: no longer than a working day.
        response_timeout=timedelta(hours=8),
        execution_timeout=timedelta(minutes=5),
        doc_md="Asks whether a held feed is taken in all the same; skipped when no feed was held. Answer under *Required Actions*. "
        "Red: nobody answered. The feed waits in the inbox; clear this task, or wait for the next refresh, to be asked again.",
    )
    answer_feed = RecsimJobOperator(
        task_id="answer_feed",
        job="ingest",
        arguments=["--" + ANSWER % "answer", ANSWER % "digest", "--by", ANSWER % "by"],
        # A second feed may be held behind the first: the refresh goes on with what was taken in, and the next one asks.
        hands_on_held=True,
        outlets=[CATALOGUE],
        execution_timeout=timedelta(hours=2),
        doc_md="Takes the held feed in, or moves it to `.refused`, as was answered, with the name of who did; then takes the feeds that came after it.",
    )
    await_catalogue = DeltaChangeDataFeedSensor(
        task_id="await_catalogue",
        table_uri=settings.products_uri,
        min_version=INGESTED,
        cursor_of=commits,
        conn_id=storage_conn_id(),
        timeout=600,
        # It waits for what this very run has committed: if that does not show, a skip would pass for a refresh.
        soft_fail=False,
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        execution_timeout=timedelta(minutes=15),
        doc_md="Waits until the catalogue shows what was just committed, checks that its change feed is on, and says which versions are news. "
        "Red: this Airflow and the jobs look at different tables, or the change feed is off; the reason says which.",
    )
    plan = RecsimJobOperator(
        task_id="plan",
        job="plan",
        arguments=["--mode", "{{ params.mode }}", POOL_SLOTS],
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
    up_to_date = UpToDateOperator(
        task_id="up_to_date",
        catalogue=commits,
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
            pool_slots=settings.tune_parallel,
            execution_timeout=timedelta(hours=6),
            doc_md="Searches for good training parameters, each trial on a device of its own. Waits for as many slots of `gpu_pool` as it runs trials at a time. "
            "Safe to clear: trials that are over are not run again.",
        )
        train = RecsimJobOperator(
            task_id="train",
            job="train",
            pool=GPU_POOL,
            pool_slots=settings.ranks,
            execution_timeout=timedelta(hours=8),
            doc_md="Trains the model on all ranks with the best parameters found. Waits for as many slots of `gpu_pool` as it has ranks. "
            "Safe to clear: it goes on from its last checkpoint. Curves, the test images' table and retrieval sheets are in its run in MLflow.",
        )
        tune >> train >> embed(hours=6) >> index("build")
    evaluate = RecsimJobOperator(
        task_id="evaluate",
        job="evaluate",
        retry_policy=OutageRetryPolicy(failures=1),
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        execution_timeout=timedelta(hours=1),
        doc_md="Measures what the new release finds, by category and against an exact search, and holds it if it is worse than the one that serves. "
        "Red with *Held:*: nothing has been changed; look at `slices` in this task's XCom, mend the data or trigger a retrain.",
    )
    register = RecsimJobOperator(
        task_id="register",
        job="register",
        arguments=["{{ '--ask' if params.approval == 'ask' }}"],
        execution_timeout=timedelta(hours=1),
        doc_md="Registers model, index and manifest in MLflow as one release. Safe to clear: one refresh registers one release.",
    )
    approve = ReleaseApprovalOperator(
        task_id="approve",
        asked="{{ params.approval }}",
        evaluate_task="evaluate",
        register_task="register",
        assigned_users=approvers(),
        response_timeout=timedelta(hours=8),
        execution_timeout=timedelta(minutes=5),
        doc_md="Asks whether the release goes into Production, when the run is to ask. Answer under *Required Actions*: the gate's rules are there, and a link to what it answers. "
        "Green: `promote` does what was answered. Red: no answer came; the release stays in Staging, clear this task to be asked again.",
    )
    promote = RecsimJobOperator(
        task_id="promote",
        job="promote",
        arguments=["--version", VERSION, "--by", APPROVED_BY, "--through=airflow", ANSWERED_AT, REJECTED],
        inlets=[commits],
        outlets=[RELEASE],
        post_execute=lambda context, _: note_committed(context, commits),
        execution_timeout=timedelta(minutes=15),
        doc_md="Opens the release as MLflow keeps it and makes it the champion; serving takes it up by itself. Safe to clear. "
        "*Held*: a person rejected it, or has not answered, or another release has come into Production; nothing was changed.",
    )
    verify = RecsimJobOperator(
        task_id="verify",
        job="verify",
        arguments=["--version", VERSION],
        execution_timeout=timedelta(minutes=15),
        doc_md="Asks until the promoted release is the one that answers. Red: the release is promoted but not served; look at the serving process, then clear this task.",
    )

    ingest >> approve_feed >> answer_feed
    [ingest, answer_feed] >> await_catalogue >> plan >> decide >> [up_to_date, append, rebuild, retrain]
    [append, rebuild, retrain] >> evaluate >> register >> approve >> promote >> verify
