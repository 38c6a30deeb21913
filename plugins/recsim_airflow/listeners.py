"""Tells a run's tasks how many slots `gpu_pool` has: Airflow lets no task read its pools, the scheduler alone does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models import DagRun

GPU_POOL = "gpu_pool"
# Read by the task `plan`, which refuses a training for which the pool is too small.
VARIABLE = "recsim_gpu_pool_slots"
DAGS = ("recsim_refresh",)


@hookimpl
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001 - Airflow names the arguments
    """Note the slots that the pool has now, when a run starts; called in the scheduler, and part of its transaction.

    A pool that does not exist has no slots: its tasks would never be scheduled.
    """
    from airflow.models.pool import Pool
    from airflow.models.variable import Variable
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if dag_run.dag_id not in DAGS or session is None:
        return
    slots = session.scalar(select(Pool.slots).where(Pool.pool == GPU_POOL)) or 0
    Variable.set(
        VARIABLE,
        slots,
        description="Slots of gpu_pool when the last refresh began. recsim writes it.",
        session=session,
    )
