"""Records the slots of `gpu_pool` for the tasks of a refresh: only the scheduler can read Airflow's pools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models import DagRun

GPU_POOL = "gpu_pool"
POOL_SLOTS_VARIABLE = "recsim_gpu_pool_slots"
# An argument for `recsim plan`, which refuses a training that needs more slots than the pool has. It renders
# to an empty text when the scheduler has recorded nothing, and when the pool is unbounded.
POOL_SLOTS_ARGUMENT = (
    f"{{% set slots = var.value.get('{POOL_SLOTS_VARIABLE}', '') %}}"
    "{{ '--pool-slots=' ~ slots if slots and slots != '-1' }}"
)
REFRESH_DAG = "recsim_refresh"


@hookimpl
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001 - Airflow names the arguments
    """Record the pool's slots when a run starts. Runs in the scheduler, in its transaction.

    A pool that does not exist has no slots: Airflow would never schedule its tasks.
    """
    if dag_run.dag_id != REFRESH_DAG:
        return
    from airflow.models.pool import Pool
    from airflow.models.variable import Variable
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is None:
        return
    slots = session.scalar(select(Pool.slots).where(Pool.pool == GPU_POOL)) or 0
    Variable.set(
        POOL_SLOTS_VARIABLE,
        slots,
        description="Slots of gpu_pool when the last refresh started. Written by recsim.",
        session=session,
    )
