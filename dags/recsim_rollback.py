"""
### Puts an earlier release back into Production

Encoder and index go back together, and serving follows within seconds. From then on promotions are frozen, so
that the next refresh does not undo the rollback: new releases stay in Staging, and the task `promote` is red
with *Frozen*. When the cause is fixed, run this DAG again with *Resume*.

On the command line: `recsim rollback [--to V] --reason TEXT` and `recsim resume`. `recsim releases` lists
what was in Production when.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Context, Param

from recsim_airflow.assets import RELEASE
from recsim_airflow.operators import RecsimJobOperator, refuse_unknown_conf
from recsim_airflow.retries import RETRIES, begin_try

ACTIONS = {
    "rollback": "Roll back: return to an earlier release and freeze promotions",
    "resume": "Resume: let refreshes promote again",
}
ROLLS_BACK = "params.action == 'rollback'"


def begin(context: Context) -> None:
    """Refuse unknown run parameters."""
    begin_try(context)
    refuse_unknown_conf(context)


with DAG(
    dag_id="recsim_rollback",
    dag_display_name="recsim: rollback",
    description="Puts an earlier release, encoder and index together, back into Production.",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    tags={"recsim", "release"},
    default_args={"owner": "recsim", **RETRIES},
    params={
        "action": Param(
            "rollback", type="string", enum=list(ACTIONS), values_display=ACTIONS, title="Action"
        ),
        "to": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Release",
            description="Version to return to. If empty, the newest earlier release that can be read.",
        ),
        "reason": Param(
            None,
            type=["null", "string"],
            maxLength=500,
            title="Reason",
            description="Why you roll back. It is stored with the release.",
        ),
    },
) as dag:
    rollback = RecsimJobOperator(
        task_id="rollback",
        job="{{ params.action }}",
        arguments=[
            f"{{{{ '--to=' ~ params.to if params.to and {ROLLS_BACK} }}}}",
            f"{{{{ '--reason=' ~ params.reason if params.reason and {ROLLS_BACK} }}}}",
            "--by={{ dag_run.triggering_user_name or 'airflow' }}",
            "--through=airflow",
        ],
        pre_execute=begin,
        outlets=[RELEASE],
        execution_timeout=timedelta(minutes=10),
        doc_md="Checks the earlier release as it is stored in MLflow, makes it the champion and freezes "
        "promotions; or, with *Resume*, lets refreshes promote again. Safe to clear. Red: the release cannot "
        "be read, and nothing was changed.",
    )
    verify = RecsimJobOperator(
        task_id="verify",
        job="verify",
        arguments=["--version", "{{ ti.xcom_pull(task_ids='rollback')['version'] }}"],
        execution_timeout=timedelta(minutes=10),
        doc_md="Waits until the HTTP API answers from this release.",
    )
    rollback >> verify
