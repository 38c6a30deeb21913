"""The status line of a task: what it did or why it failed, in one line.

An operator finds it at the end of the task's log, in the XCom `reason`, and in the column *Map Index* of the
run's task instances.
"""

from __future__ import annotations

import logging
from typing import NoReturn

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from recsim_tasks.foundation.text import one_line

log = logging.getLogger(__name__)

# A `map_index_template`, which Airflow renders for unmapped tasks as well. Its column has 250 characters.
STATUS_LINE_TEMPLATE = "{{ (reason | default(''))[:250] }}"


def set_status_line(context: Context, text: str, *, level: int = logging.INFO) -> None:
    """Show `text` as the task's status line, on one line whatever a feed has put into it."""
    line = one_line(text)
    context["reason"] = line
    context["ti"].xcom_push(key="reason", value=line)
    log.log(level, "%s", line)


def fail_without_retry(context: Context, reason: str) -> NoReturn:
    """Fail the task without a retry, with `reason` as its status line."""
    set_status_line(context, reason, level=logging.ERROR)
    raise AirflowFailException(reason)
