"""Repeats a job's log lines in the task's log, at the level and under the logger of the job."""

from __future__ import annotations

import logging
import re

# A line of `recsim_tasks.foundation.logging` where stderr is no terminal:
# `WARNING recsim_tasks.release.bundle: The release has no canaries`.
LINE = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) ([A-Za-z_][\w.]*): (.*)")

log = logging.getLogger(__name__)


def log_job_line(line: str) -> str:
    """Log a line of a job's stderr, and return its message.

    Without a level, as in a traceback, it is INFO.
    """
    if match := LINE.fullmatch(line):
        level, name, message = match.groups()
        logging.getLogger(name).log(logging.getLevelNamesMapping()[level], "%s", message)
        return message
    log.info("%s", line)
    return line
