"""What every job of the command line has in common: settings, result, errors, exit code."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from recsim_tasks.contracts import JobResult
from recsim_tasks.foundation.errors import BlockedError, ConfigurationError, RecsimError
from recsim_tasks.foundation.logging import configure
from recsim_tasks.foundation.outages import diagnose, outage_behind
from recsim_tasks.foundation.processes import die_with
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.settings import Settings, load_settings, parent_pid
from recsim_tasks.foundation.text import one_line

log = logging.getLogger(__name__)
Work = Callable[[Settings], JobResult | dict[str, Any]]

SERVICE = "A service that this job needs"


def run(name: str, work: Work) -> None:
    """Do `work`, print its result as the last line of stdout, and leave with the exit code of the contract.

    0 done · 1 failed, or something is away · 2 bad input or configuration, or something does not exist · 3 held back. The reason also is
    the last line of stderr, without a traceback behind it.
    """
    settings: Settings | None = None
    configure()
    try:
        if parent := parent_pid():
            die_with(parent)
        settings = load_settings()
        result, code = _timed(work, settings), 0
    except Exception as error:
        result, code = _failure(name, _meaning(error, _place(settings)))
    sys.stderr.flush()
    print(redacted(as_json(result)), flush=True)
    raise SystemExit(code)


def _timed(work: Work, settings: Settings) -> JobResult | dict[str, Any]:
    """The result with its `elapsed_seconds`."""
    started = time.monotonic()
    result = work(settings)
    if isinstance(result, JobResult) and result.elapsed_seconds is None:
        return result.model_copy(update={"elapsed_seconds": round(time.monotonic() - started, 1)})
    return result


def as_json(result: JobResult | dict[str, Any]) -> str:
    """The one line in which a result is printed."""
    return result.model_dump_json() if isinstance(result, JobResult) else json.dumps(result, default=str)


def _meaning(error: Exception, place: str) -> RecsimError:
    """What `error` is to the person who reads it: an outage is never a verdict, and what is not known is a fault."""
    if isinstance(error, RecsimError):
        return (
            outage_behind(error, place) if error.exit_code == ConfigurationError.exit_code else None
        ) or error
    if known := diagnose(error, place, SERVICE):
        return known
    log.error("This is a fault of the program or of its surroundings:", exc_info=error)
    return RecsimError(
        f"{_cause(error)}. This is a fault of the program or of its surroundings; the lines above say where."
    )


def _place(settings: Settings | None) -> str:
    return f"{settings.home.absolute()} (RECSIM_HOME) or TMPDIR" if settings else "RECSIM_HOME or TMPDIR"


def _cause(error: Exception) -> str:
    """The error in one line: of a JVM's, whose first line says that something was called, the innermost cause."""
    lines = f"{type(error).__name__}: {error}".splitlines()
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes or lines[:1])[-1].rstrip(".")


def _failure(name: str, error: RecsimError) -> tuple[dict[str, Any], int]:
    sentence = redacted(one_line(error))
    log.error("recsim %s: %s", name, sentence)
    extra = error.result if isinstance(error, BlockedError) else {}
    return {
        **extra,
        "error": sentence,
        "error_type": error.error_type,
        "exit_code": error.exit_code,
    }, error.exit_code
