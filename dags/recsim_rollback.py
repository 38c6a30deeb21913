"""
### Puts an earlier release back into Production

Model and index go back together, and serving follows within seconds. From then on refreshes promote nothing, so that the next night does
not undo it: their releases stay in Staging and their task `promote` is red with the reason. When the cause is mended, run this once more
with *Resume*.

The same by hand: `recsim rollback [--to V] --reason TEXT`, `recsim rollback --resume`; `recsim releases` lists who was in Production when.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Context, Param

from recsim_airflow.assets import RELEASE
from recsim_airflow.operators import RecsimJobOperator, refuse_unknown_conf
from recsim_airflow.retries import RETRIES, begin_try

ACTIONS = {"back": "Roll back, and hold promotions", "resume": "Resume: let refreshes promote again"}
BY = "{{ dag_run.triggering_user_name or 'airflow' }}"


def begin(context: Context) -> None:
    """Refuse a run that was started wrongly."""
    begin_try(context)
    refuse_unknown_conf(context)


with DAG(
    dag_id="recsim_rollback",
    dag_display_name="recsim: rollback",
    description="Puts an earlier release, model and index together, back into Production.",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    tags={"recsim", "release"},
    default_args={"owner": "recsim", **RETRIES},
    params={
        "action": Param(
            "back", type="string", enum=list(ACTIONS), values_display=ACTIONS, title="What to do"
        ),
        "to": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Release",
            description="The version to go back to. Empty: the newest one before that can be read.",
        ),
        "reason": Param(
            "",
            type="string",
            maxLength=500,
            title="Reason",
            description="Why, for those who look later; it is kept with the release.",
        ),
    },
) as dag:
    rollback = RecsimJobOperator(
        task_id="rollback",
        job="rollback",
        arguments=[
            "{{ '--resume' if params.action == 'resume' }}",
            "{{ '--to=' ~ params.to if params.to }}",
            "{{ '--reason=' ~ params.reason if params.reason }}",
            "--by=" + BY,
            "--through=airflow",
        ],
        pre_execute=begin,
        outlets=[RELEASE],
        execution_timeout=timedelta(minutes=10),
        doc_md="Opens the earlier release as MLflow keeps it, then moves stage and alias back. Safe to clear. Red: it cannot be read, nothing was changed.",
    )
    verify = RecsimJobOperator(
        task_id="verify",
        job="verify",
        arguments=["--version", "{{ ti.xcom_pull(task_ids='rollback')['version'] }}"],
        execution_timeout=timedelta(minutes=10),
        doc_md="Asks until the release is the one that answers.",
    )
    rollback >> verify
