"""Reads the table of a DAG's tasks: documentation, time limits and retries.

The DAG file shows what a run does, and the table what an operator reads and waits for. The table is a YAML
file beside the DAG file, in the DAG's bundle, so that both have one version.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Required, TypedDict

from airflow.sdk import yaml

from recsim_airflow.retries import OutageRetryPolicy


class OperatorArguments(TypedDict, total=False):
    """What the table says of a task, as arguments of its operator."""

    doc_md: Required[str]
    execution_timeout: Required[timedelta]
    response_timeout: timedelta
    retry_policy: OutageRetryPolicy


def read_task_table(dag_file: str) -> dict[str, OperatorArguments]:
    """Operator arguments by task, from the file that has the name of `dag_file` and the suffix `.yaml`.

    A task has `doc_md` and `execution_timeout` (minutes); `failure_retries`, if it is not the default; and
    `response_timeout` (minutes) if it waits for a person.

    .. code-block:: python

        TASKS = read_task_table(__file__)
        RecsimJobOperator(task_id="embed", job="embed", **TASKS["embed"])
    """
    table = yaml.safe_load(Path(dag_file).with_suffix(".yaml").read_text())
    return {task: _operator_arguments(**row) for task, row in table.items()}


def _operator_arguments(
    *,
    doc_md: str,
    execution_timeout: float,
    response_timeout: float | None = None,
    failure_retries: int | None = None,
) -> OperatorArguments:
    arguments: OperatorArguments = {
        "doc_md": doc_md,
        "execution_timeout": timedelta(minutes=execution_timeout),
    }
    if response_timeout is not None:
        arguments["response_timeout"] = timedelta(minutes=response_timeout)
    if failure_retries is not None:
        arguments["retry_policy"] = OutageRetryPolicy(failure_retries)
    return arguments
