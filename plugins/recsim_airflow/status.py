"""Where an operator reads why: the task's log, its XCom `reason`, and the run's table of task instances."""

from __future__ import annotations

import logging

from airflow.sdk import Context

from recsim_tasks.foundation.text import one_line

log = logging.getLogger(__name__)

# The table's column "Map Index" shows what this renders to, for unmapped tasks too; the database takes 250 characters.
REASON_COLUMN = "{{ (reason | default(''))[:250] }}"


def give_reason(context: Context, sentence: str) -> None:
    """Show `sentence` as this task's reason, in one line whatever a feed has put into it."""
    sentence = one_line(sentence)
    context["reason"] = sentence
    context["ti"].xcom_push(key="reason", value=sentence)
    log.info(sentence)
