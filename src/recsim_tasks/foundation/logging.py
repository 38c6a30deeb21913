"""The logging configuration of a process: one format, one line per record, no secrets.

On a terminal, rich shows time and level. Elsewhere a line begins with the level and the logger's name, so
that a collector of logs (Airflow, journald, a container's log driver) can tell a warning from progress.
"""

from __future__ import annotations

import logging
import sys
from functools import cache
from typing import TYPE_CHECKING

from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.text import one_line

if TYPE_CHECKING:
    from rich.console import Console

PACKAGE = "recsim_tasks"
# Example: `WARNING recsim_tasks.catalogue.feeds.inbox: Feed 7 is on hold`. The Airflow operator parses it.
FORMAT = "%(levelname)s %(name)s: %(message)s"


class Formatter(logging.Formatter):
    """Puts a message into one line, without secrets; a traceback follows in lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: D102, N802 - logging's name
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:  # noqa: D102
        return redacted(super().format(record))


def configure(verbose: bool = False) -> None:
    """Log to stderr: recsim from INFO on (DEBUG if `verbose`), other libraries from WARNING on.

    A second call replaces the first.
    """
    handler = _terminal_handler() if sys.stderr.isatty() else logging.StreamHandler()
    if not sys.stderr.isatty():
        handler.setFormatter(Formatter(FORMAT))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(PACKAGE).setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(capture=True)


@cache
def terminal() -> Console:
    """The terminal, shared by log lines and progress bars so that neither draws over the other."""
    from rich.console import Console

    return Console(stderr=True)


def _terminal_handler() -> logging.Handler:
    from rich.highlighter import NullHighlighter
    from rich.logging import RichHandler

    handler = RichHandler(console=terminal(), show_path=False, markup=False, highlighter=NullHighlighter())
    handler.setFormatter(Formatter("%(message)s"))
    return handler
